"""How long the logs of ended runs stay."""

from loomline.server.domain.retention import ENDED_SECONDS, Retention
from loomline.server.events.redis import RedisOptions


def test_the_log_of_a_resumable_run_stays_for_the_configured_time():
    assert Retention(500.0).seconds(resumable=True) == 500.0
    assert Retention(0.0).seconds(resumable=True) == 0.0


def test_the_log_of_another_run_stays_long_enough_for_late_readers():
    assert Retention(500.0).seconds(resumable=False) == ENDED_SECONDS


def test_the_log_of_a_run_that_is_given_up_stays_for_the_longer_time():
    assert Retention(500.0).longest_seconds == 500.0
    assert Retention(0.0).longest_seconds == ENDED_SECONDS


def test_redis_keeps_a_closed_log_for_no_less():
    assert RedisOptions("loomline:").least_keep_seconds == ENDED_SECONDS
