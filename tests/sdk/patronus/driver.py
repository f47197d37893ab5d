"""Gives feedback with Patronus's own Python client, by its raw requests: no published
version of it has methods for feedback.

Usage: driver.py sync|async BASE_URL KEY WRONG_KEY
"""

from patronus_api import AsyncPatronusAPI, PatronusAPI
from script import call, run, settle

RESULT = "1234567891234567890"
RUN = "9876543219876543210"


async def main(kind, base_url, key, wrong_key):
    client_type = {"sync": PatronusAPI, "async": AsyncPatronusAPI}[kind]
    client = client_type(api_key=key, base_url=base_url)

    async def give(name, **body):
        await call(name, client.post, "/v1/feedback", cast_to=object, body=body)

    async def find(name, **params):
        options = {"params": params}
        return await call(name, client.get, "/v1/feedback", cast_to=object, options=options)

    await give("on_result", feedback_positive=True, evaluation_result_id=RESULT)
    sample = {"evaluation_run_id": RUN, "evaluator_id": "toxicity-v1"}
    await give(
        "on_sample",
        feedback_positive=False,
        evaluation_run_candidate_input_id=7,
        profile_name="strict",
        evaluation_result_id=None,
        **sample,
    )
    await give("on_part", feedback_positive=True, **sample)
    await give("on_both", feedback_positive=True, evaluation_result_id=RESULT, **sample)
    await give("on_nothing", feedback_positive=True)
    await give("nothing_said", evaluation_result_id=RESULT)
    await give("no_bool", feedback_positive="sure", evaluation_result_id=RESULT)

    # What took the place of feedback later. It is of a result: the last word counts.
    # They answer with nothing.
    nothing = type(None)
    path = f"/v1/evaluation-results/{int(RESULT) + 1}/evaluation-feedback"
    await call("says_yes", client.post, path, cast_to=nothing, body={"feedback": "positive"})
    await call("says_no", client.post, path, cast_to=nothing, body={"feedback": "negative"})
    await call("says_maybe", client.post, path, cast_to=nothing, body={"feedback": "maybe"})
    gone = f"/v1/evaluation-results/{int(RESULT) + 2}/evaluation-feedback"
    await call("says_first", client.post, gone, cast_to=nothing, body={"feedback": "positive"})
    await call("takes_back", client.delete, gone, cast_to=nothing)
    annotation = {
        "annotation_criteria_id": "c-1",
        "log_id": "log-1",
        "explanation": "too long",
        "value_pass": False,
        "value_score": 0.25,
        "value_text": "long",
    }
    await call("annotate", client.post, "/v1/annotate", cast_to=object, body=annotation)

    settle()
    await find("all")
    await find("of_result", evaluation_result_id=RESULT)
    found = await find("of_run", evaluation_run_id=RUN, limit=1)
    await find("second_page", evaluation_run_id=RUN, limit=1, offset=1)
    number = found["feedbacks"][0]["id"]
    await call("delete", client.delete, f"/v1/feedback/{number}", cast_to=nothing)
    settle()
    await find("after_delete", evaluation_run_id=RUN)

    stranger = client_type(api_key=wrong_key, base_url=base_url)
    body = {"feedback_positive": True, "evaluation_result_id": RESULT}
    await call("wrong_key", stranger.post, "/v1/feedback", cast_to=object, body=body)


run(main)
