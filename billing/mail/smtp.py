"""Letters over SMTP. Without `BILLING_SMTP_HOST` they stay queued, and nothing is lost."""

import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from typing import Final, Self

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from billing.mail.service import AttachedFile, RefusedForGoodError
from billing.mail.tables import Mail

_TIMEOUT_SECONDS: Final = 15


class MailSettings(BaseSettings):
    """The mail server, from the environment."""

    model_config = SettingsConfigDict(env_prefix="BILLING_", extra="ignore")

    smtp_host: str | None = None
    smtp_port: int = 587
    smtp_user: str | None = None
    smtp_password: SecretStr | None = None
    smtp_starttls: bool = True
    """Off only for a server on this machine."""
    mail_from: str = "billing@localhost"

    @classmethod
    def load(cls) -> Self:
        """Read the environment now."""
        return cls()


class SmtpSender:
    """Sends each letter over a connection of its own."""

    def __init__(self, settings: MailSettings) -> None:
        if settings.smtp_host is None:
            raise ValueError("Set BILLING_SMTP_HOST to send letters")
        self._host = settings.smtp_host
        self._settings = settings

    def send(self, mail: Mail, files: Sequence[AttachedFile] = ()) -> None:
        """Hand a letter to the server."""
        try:
            with smtplib.SMTP(
                self._host, self._settings.smtp_port, timeout=_TIMEOUT_SECONDS
            ) as server:
                if self._settings.smtp_starttls:
                    server.starttls(context=ssl.create_default_context())
                if self._settings.smtp_user is not None:
                    password = self._settings.smtp_password or SecretStr("")
                    server.login(self._settings.smtp_user, password.get_secret_value())
                server.send_message(_message(mail, files, self._settings.mail_from))
        except (smtplib.SMTPRecipientsRefused, smtplib.SMTPSenderRefused) as error:
            codes = (
                [code for code, _ in error.recipients.values()]
                if isinstance(error, smtplib.SMTPRecipientsRefused)
                else [error.smtp_code]
            )
            if all(code >= 500 for code in codes):
                raise RefusedForGoodError(str(error)) from error
            raise


def sender() -> SmtpSender | None:
    """What sends letters by the environment; None if nothing is set."""
    settings = MailSettings.load()
    return SmtpSender(settings) if settings.smtp_host else None


def _message(mail: Mail, files: Sequence[AttachedFile], sent_from: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sent_from, mail.recipient, mail.subject
    message["Message-ID"] = f"<{mail.id}@{sent_from.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.body)
    for file in files:
        main, _, sub = file.media_type.partition("/")
        message.add_attachment(file.content, maintype=main, subtype=sub, filename=file.name)
    return message
