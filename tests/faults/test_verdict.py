"""The judge finds every kind of fault in a record that is sound apart from it."""

import pytest
from tests.faults.load import Errand, Load, Promise
from tests.faults.model import (
    INNER,
    READ,
    STEPS,
    digest,
    digests,
    filler,
    given,
    inner_state,
    state_after,
    steps_of,
)
from tests.faults.verdict import (
    DAMAGE,
    LOG,
    LOST,
    OVERLAP,
    RESULT,
    STATE,
    TWICE,
    Record,
    settled,
    unforeseen,
    verdict_on,
)

THREAD = "thread"


class Evidence:
    """A thread with three runs, the second failing, the third taken over; and one without."""

    def __init__(self):
        self.load = load = Load(urls=[])
        self.record = Record(facts=[], ends={1: 27.5}, inspections=3)
        self._now = 0.0
        for tag, fails in (("one", ""), ("two", "b"), ("three", ""), ("errand", "")):
            load.inputs[tag] = given(tag, fails)
        self.log = [*steps_of("one"), *steps_of("two", "b")]
        self._execute("one", "e1", [], STEPS)
        self._execute("two", "e2", steps_of("one"), STEPS[:2])
        self._execute("three", "e3", self.log, STEPS[:3], thread_ends=False)
        self._now = 30.0
        self._execute("three", "e4", self.log, STEPS[1:], pid=2)
        self.log += steps_of("three")
        self._execute("errand", "e5", [], STEPS, thread="gone")
        load.promises = [
            Promise(THREAD, f"run-{tag}", tag, load.inputs[tag]["fails"])
            for tag in ("one", "two", "three")
        ]
        load.final[THREAD] = {
            "status": "idle",
            "values": state_after(self.log, load.inputs),
            "runs": [
                {"run_id": "run-three", "status": "success"},
                {"run_id": "run-two", "status": "error"},
                {"run_id": "run-one", "status": "success"},
            ],
            "history": [self._told(self.log), self._told(self.log[:5])],
        }
        load.joined = [
            (load.promises[0], state_after(self.log[:6], load.inputs)),
            (load.promises[1], {"__error__": {"error": "ValueError", "message": "two"}}),
            (load.promises[2], state_after(self.log, load.inputs)),
        ]
        result = state_after(steps_of("errand"), load.inputs)
        load.errands = [Errand("errand", "", "run-errand", kept=True, answers=[result])]
        load.receiver.received["run-errand"] = [{"status": "success", "values": result}]

    def _told(self, log):
        values = state_after(log, self.load.inputs)
        return {"tag": values["tag"], "log": log, "state": digests(values)}

    def _execute(self, tag, execution, base, nodes, thread=THREAD, pid=1, *, thread_ends=True):
        for node in nodes:
            for what in ("begin", "end"):
                if what == "end" and node == nodes[-1] and not thread_ends:
                    continue
                self._now += 1.0
                self.record.facts.append(
                    {"what": what, "node": node, "tag": tag, "run": f"run-{tag}", "pid": pid,
                     "thread": thread, "execution": execution, "at": self._now}
                    | (self._reading(tag, node, base) if what == "begin" else {})
                )  # fmt: skip

    def _reading(self, tag, node, base):
        if node in INNER:
            made = INNER.index(node)
            state = inner_state(self.load.inputs[tag], made)
        else:
            log = [*base, *steps_of(tag)[: READ[node]]]
            state = state_after(log, self.load.inputs, tag)
        return {"log": state["log"], "state": digests(state)}

    def begin(self, execution, node):
        return next(
            fact
            for fact in self.record.facts
            if (fact["execution"], fact["node"], fact["what"]) == (execution, node, "begin")
        )

    @property
    def verdict(self):
        return verdict_on(self.load, self.record)


def test_a_sound_record_has_no_faults():
    verdict = Evidence().verdict
    assert verdict.faults == []
    assert verdict.counts["states checked at takeovers"] == 1
    assert verdict.counts["states checked"] == 6 + 2 + 3 + 5 + 6
    assert verdict.counts["states checked in histories"] == 3
    assert verdict.counts["runs taken over from a killed process"] == 1


def lose_a_channel(evidence):
    del evidence.begin("e4", "b")["state"]["seconds"]


def lose_a_channel_of_the_subgraph(evidence):
    del evidence.begin("e4", "q")["state"]["draft"]


def lose_the_tag(evidence):
    fact = evidence.begin("e4", "c")
    fact["tag"] = None
    del fact["state"]["tag"]


def keep_an_older_value(evidence):
    evidence.begin("e4", "c")["state"]["facts"] = evidence.begin("e4", "b")["state"]["facts"]


def keep_an_older_log(evidence):
    evidence.begin("e4", "c")["state"]["log"] = evidence.begin("e4", "b")["state"]["log"]


def read_the_payload_of_another_run(evidence):
    evidence.begin("e4", "b")["state"]["payload"] = digest(filler("payload of two"))


def read_the_state_of_another_run(evidence):
    evidence.begin("e4", "b").update(evidence._reading("three", "b", steps_of("one")))


def read_the_input_twice(evidence):
    evidence.begin("e4", "b")["state"]["asked"] = digest(4)


def read_what_is_not_written_yet(evidence):
    evidence.begin("e4", "b").update(evidence._reading("three", "c", evidence.log[:7]))


def lose_a_delta(evidence):
    state = state_after(evidence.log[:8], evidence.load.inputs)
    evidence.begin("e4", "c")["state"]["trail"] = digest(state["trail"])


def lose_a_channel_of_a_run_without_a_thread(evidence):
    del evidence.begin("e5", "c")["state"]["options"]


def tell_a_state_without_a_channel(evidence):
    del evidence.load.final[THREAD]["values"]["options"]


def tell_a_past_without_a_channel(evidence):
    del evidence.load.final[THREAD]["history"][1]["state"]["text"]


def tell_a_past_of_another_order(evidence):
    evidence.load.final[THREAD]["history"][1] = evidence._told(steps_of("three"))


@pytest.mark.parametrize(
    "change",
    [
        lose_a_channel,
        lose_a_channel_of_the_subgraph,
        lose_the_tag,
        keep_an_older_value,
        keep_an_older_log,
        read_the_payload_of_another_run,
        read_the_state_of_another_run,
        read_the_input_twice,
        read_what_is_not_written_yet,
        lose_a_delta,
        lose_a_channel_of_a_run_without_a_thread,
        tell_a_state_without_a_channel,
        tell_a_past_without_a_channel,
        tell_a_past_of_another_order,
    ],
)
def test_a_state_that_the_run_never_had_is_reported(change):
    evidence = Evidence()
    change(evidence)
    verdict = evidence.verdict
    assert len(verdict.faults) == verdict.counts[STATE] == 1, verdict.faults


def forget_a_run(evidence):
    del evidence.load.final[THREAD]["runs"][2]


def end_a_run_with_an_error(evidence):
    evidence.load.final[THREAD]["runs"][0]["status"] = "error"


def leave_a_thread_busy(evidence):
    evidence.load.final[THREAD]["status"] = "busy"


def forget_a_step(evidence):
    log = [step for step in evidence.log if step != "one:c"]
    evidence.load.final[THREAD]["values"]["log"] = log


def execute_no_errand(evidence):
    evidence.record.facts = [fact for fact in evidence.record.facts if fact["execution"] != "e5"]


def send_no_webhook(evidence):
    evidence.load.receiver.received.clear()


def make_a_step_count_twice(evidence):
    evidence.load.final[THREAD]["values"]["log"] = [*evidence.log, evidence.log[-1]]


def execute_a_node_twice(evidence):
    evidence.record.facts.append(dict(evidence.begin("e5", "c"), at=99.0))


def answer_with_nothing(evidence):
    evidence.load.errands[0].answers = [{}]


def answer_with_the_result_of_another(evidence):
    evidence.load.errands[0].answers = [evidence.load.final[THREAD]["values"]]


def answer_with_an_error_of_the_state(evidence):
    error = {"error": "KeyError", "message": "'seconds'"}
    evidence.load.errands[0].answers = [{"__error__": error}]


def tell_the_webhook_of_an_error(evidence):
    evidence.load.receiver.received["run-errand"][0]["status"] = "error"


def tell_the_webhook_nothing(evidence):
    evidence.load.receiver.received["run-errand"][0]["values"] = None


def join_nothing(evidence):
    evidence.load.joined[0] = (evidence.load.promises[0], {})


def join_a_result_without_a_channel(evidence):
    del evidence.load.joined[0][1]["inner"]


def join_an_error_of_another(evidence):
    error = {"error": "ValueError", "message": "one"}
    evidence.load.joined[1] = (evidence.load.promises[1], {"__error__": error})


def damage_the_database(evidence):
    evidence.record.damages.append("integrity_check says ('row 3 missing from index',)")


def overlap(evidence):
    for fact in evidence.record.facts:
        if fact["execution"] == "e2":
            fact["at"] -= 1.5


def log_a_surprise(evidence):
    evidence.record.log.append("ERROR a job failed")


def answer_with_a_surprise(evidence):
    evidence.load.surprises.append("/runs/wait answered 500: Internal Server Error")


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (forget_a_run, LOST),
        (end_a_run_with_an_error, LOST),
        (leave_a_thread_busy, LOST),
        (forget_a_step, LOST),
        (execute_no_errand, LOST),
        (send_no_webhook, LOST),
        (make_a_step_count_twice, TWICE),
        (execute_a_node_twice, TWICE),
        (answer_with_nothing, RESULT),
        (answer_with_the_result_of_another, RESULT),
        (answer_with_an_error_of_the_state, RESULT),
        (tell_the_webhook_of_an_error, RESULT),
        (tell_the_webhook_nothing, RESULT),
        (join_nothing, RESULT),
        (join_a_result_without_a_channel, RESULT),
        (join_an_error_of_another, RESULT),
        (damage_the_database, DAMAGE),
        (overlap, OVERLAP),
        (log_a_surprise, LOG),
        (answer_with_a_surprise, LOG),
    ],
)
def test_a_broken_promise_is_reported_as_its_kind(change, kind):
    evidence = Evidence()
    change(evidence)
    verdict = evidence.verdict
    assert verdict.counts[kind] >= 1, verdict.faults
    assert any(fault.startswith(kind) for fault in verdict.faults)


def test_the_words_of_the_database_about_a_cut_are_no_failed_request():
    line = "2026-11-30T13:49:23.198+00:00 ERROR   loomline.{}"
    cut = line.format("storage: database error: flush request failed: terminating connection")
    failed = line.format("api: request failed")
    assert unforeseen([cut, failed]) == [failed]


def test_an_explicit_error_instead_of_a_lost_result_is_no_fault():
    evidence = Evidence()
    evidence.load.errands[0].answers = [{"__error__": {"error": "ResultLost", "message": "gone"}}]
    assert evidence.verdict.faults == []


def test_steps_beside_a_failed_node_are_visible_until_the_next_run():
    evidence = Evidence()
    beside = ["three:a", "three:d"]
    evidence.load.inputs["three"]["fails"] = "b"
    before = evidence.log[:7]
    assert settled([*before, *beside], evidence.load) == [*before, "three:a"]
