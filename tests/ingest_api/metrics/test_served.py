"""What the processes tell Prometheus, while they work and while the writer stands still."""

from billing.wallets.connect import open_any
from tests.ingest_api.metrics.conftest import MOST_ENTRIES, MOST_EVENTS, Plant


def test_requests_and_events_are_counted_by_what_became_of_them(plant: Plant) -> None:
    assert plant.comes_true(lambda: plant.send("first").status_code == 200)
    assert plant.send("first").json()["data"][0]["attributes"]["status"] == "duplicate"
    assert plant.http.get("/health/live").status_code == 200
    assert plant.http.get("/api/v1/nothing/here").status_code == 404
    assert plant.of_api('billing_events_total{outcome="accepted"}') == 1
    assert plant.of_api('billing_events_total{outcome="duplicate"}') >= 1
    hot = 'billing_http_requests_total{method="POST",route="/api/v1/events",status="200"}'
    assert plant.of_api(hot) >= 2
    health = 'billing_http_requests_total{method="GET",route="/health/live",status="200"}'
    assert plant.of_api(health) == 1
    assert plant.of_api('billing_http_request_seconds_count{route="/api/v1/events"}') >= 2
    other = 'billing_http_requests_total{method="GET",route="other",status="404"}'
    assert plant.of_api(other) == 1
    assert plant.of_api("process_resident_memory_bytes") > 0
    assert plant.of_api("billing_events_in_flight") == 0


def test_the_writer_tells_where_every_shard_is(plant: Plant) -> None:
    assert plant.comes_true(lambda: plant.send("second").status_code == 200)
    assert plant.comes_true(
        lambda: (
            plant.of_writer('billing_applied_events_total{shard="0"}')
            == plant.count("SELECT accept_seq FROM usage.shard_state WHERE shard = 0")
        )
    )
    assert plant.of_writer('billing_shard_epoch{shard="0"}') >= 1
    assert plant.of_writer('billing_shard_mode{mode="open",shard="0"}') == 1
    assert plant.of_writer('billing_store_up{store="postgres"}') == 1
    assert plant.of_writer('billing_store_up{store="redis"}') == 1
    for name in ("quarantined_entries", "wallet_drifts_open"):
        assert plant.of_writer(f"billing_{name}") == 0
    for name in ("wallet_drifts", "compensations", "event_conflicts"):
        assert plant.of_writer(f"billing_{name}_total") == 0
    assert plant.of_writer('billing_journal_lag_entries{shard="0"}') == 0


def test_while_nobody_writes_new_events_are_refused_in_time_and_nothing_is_lost(
    plant: Plant,
) -> None:
    assert plant.comes_true(lambda: plant.send("third").status_code == 200)
    plant.writer.stop()
    stream = f"{{b:0}}:{plant.count('SELECT epoch FROM usage.shard_state WHERE shard = 0')}:j"
    with open_any(plant.redis_url) as client:
        # entries nobody reads, as the journal of an hour would have
        while int(client.xlen(stream)) < MOST_ENTRIES:
            client.xadd(stream, {"v": "2", "r": "1", "n": "0", "p": b""})
        assert plant.comes_true(lambda: plant.of_api('billing_queue_full{shard="0"}') == 1)
        refused = plant.send("late", "later")
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "queue_full"
        assert int(refused.headers["retry-after"]) >= 1
        assert int(client.xlen(stream)) == MOST_ENTRIES
        assert plant.of_api('billing_refused_total{reason="queue_full"}') == 2
        assert plant.of_api('billing_queue_entries{shard="0"}') == MOST_ENTRIES
        assert plant.of_api('billing_queue_lag_entries{shard="0"}') > 0
        assert plant.of_api('billing_queue_lag_seconds{shard="0"}') > 0
        client.xtrim(stream, maxlen=0)
    assert plant.comes_true(lambda: plant.of_api('billing_queue_full{shard="0"}') == 0)
    plant.writer.start()
    assert plant.comes_true(lambda: plant.send("late", "later").status_code == 200)


def test_what_a_full_shard_refuses_does_not_hide_what_another_one_took(plant: Plant) -> None:
    assert plant.comes_true(lambda: plant.send("fourth").status_code == 200)
    epoch = plant.count("SELECT epoch FROM usage.shard_state WHERE shard = 1")
    events = [plant.event("here"), plant.event("there", plant.other)]
    with open_any(plant.redis_url) as client:
        for _ in range(MOST_ENTRIES):
            client.xadd(f"{{b:1}}:{epoch}:j", {"v": "2", "r": "1", "n": "0", "p": b""})
        assert plant.comes_true(lambda: plant.of_api('billing_queue_full{shard="1"}') == 1)
        assert plant.comes_true(lambda: plant.of_api('billing_queue_lag_entries{shard="1"}') == 0)
        answer = plant.http.post("/api/v1/events", json=events)
        client.xtrim(f"{{b:1}}:{epoch}:j", maxlen=1, approximate=False)
    assert answer.status_code == 200
    said = [one["attributes"] for one in answer.json()["data"]]
    assert [one["status"] for one in said] == ["accepted", "unavailable"]
    assert said[1]["code"] == "queue_full"
    assert plant.comes_true(lambda: plant.of_api('billing_queue_full{shard="1"}') == 0)
    assert plant.http.post("/api/v1/events", json=events).json()["meta"]["counts"] == {
        "accepted": 1, "duplicate": 1, "conflict": 0, "rejected": 0, "unavailable": 0,
    }  # fmt: skip


def test_more_events_than_may_wait_for_an_answer_are_sent_away(plant: Plant) -> None:
    refused = plant.send(*(f"many-{number}" for number in range(MOST_EVENTS + 1)))
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "busy")
    assert int(refused.headers["retry-after"]) >= 1
    assert plant.of_api('billing_refused_total{reason="in_flight"}') == MOST_EVENTS + 1


def test_bodies_of_more_bytes_than_there_is_room_for_are_sent_away(plant: Plant) -> None:
    answer = plant.http.post(
        "/api/v1/customers", content=b"x" * 1_500_000, headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "busy")
    assert plant.of_api('billing_refused_total{reason="body_bytes"}') == 1
    assert plant.of_api("billing_body_bytes_in_flight") == 0
