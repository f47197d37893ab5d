"""Gives much feedback with LangSmith's own Python clients, which then send it in the
background, in batches, with the runs that are traced at the same time.

Usage: background.py BASE_URL KEY COUNT
"""

import uuid
import warnings

from langsmith import Client
from script import call, run


async def main(base_url, key, count):
    client = Client(api_url=base_url, api_key=key)
    trace = uuid.uuid4()

    def give():
        for number in range(int(count)):
            client.create_feedback(
                trace, f"metric-{number % 7}", score=number, trace_id=trace, comment="c" * (number % 300)
            )
            if number % 100 == 0:
                order = f"20240505T010203000000Z{trace}"
                client.create_run("traced", {"n": number}, "chain", id=trace, trace_id=trace, dotted_order=order)

    await call("give", give)
    await call("flush", client.flush)
    await call("trace", lambda: trace)


warnings.simplefilter("ignore")
run(main)
