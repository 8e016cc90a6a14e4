"""Documents that the invoice registration portal must have before they are sent."""
