"""Calls a client and prints what it returns or raises, a JSON object a line.

Every driver of a Python client is written with this. The test reads the lines.
"""

import asyncio
import datetime
import enum
import inspect
import json
import os
import sys
import uuid

# What a client prints to the standard output itself must not come between the lines.
LINES = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


def run(main):
    """Runs a driver with the program's arguments, and ends."""
    asyncio.run(main(*sys.argv[1:]))
    LINES.flush()
    # Threads of some clients do not survive the usual end.
    os._exit(0)


async def call(name, function, *args, **kwargs):
    """Prints what comes of a call of any client, sync or async, and returns it."""
    try:
        answer = function(*args, **kwargs)
        if inspect.isawaitable(answer):
            answer = await answer
        elif inspect.isasyncgen(answer):
            answer = [item async for item in answer]
        elif inspect.isgenerator(answer):
            answer = list(answer)
    except Exception as error:  # Which it is, the test decides.
        say(call=name, **raised(error))
        return None
    say(call=name, returned=plain(answer))
    return answer


def settle():
    """Waits until everything that was sent is visible to readers."""
    say(settle=True)
    sys.stdin.readline()


def say(**line):
    print(json.dumps(line), file=LINES)


def raised(error):
    """An exception: its classes, and what the client knows of the answer."""
    status = getattr(error, "status_code", None) or getattr(error, "status", None)
    response = getattr(error, "response", None)
    if status is None and response is not None:
        status = getattr(response, "status_code", None)
    classes = [kind.__name__ for kind in type(error).__mro__]
    return {"raised": classes, "status": status, "text": str(error)}


def plain(answer):
    """A client's object as JSON has it."""
    if answer is None or isinstance(answer, (bool, int, float, str)):
        return answer.value if isinstance(answer, enum.Enum) else answer
    if isinstance(answer, (list, tuple)):
        return [plain(item) for item in answer]
    if isinstance(answer, dict):
        return {str(name): plain(content) for name, content in answer.items()}
    if isinstance(answer, (datetime.datetime, datetime.date)):
        return answer.isoformat()
    if isinstance(answer, uuid.UUID) or type(answer).__name__ == "UUID":
        return str(answer)
    for method in ("model_dump", "dict", "to_dict"):
        if callable(getattr(answer, method, None)):
            return plain(getattr(answer, method)())
    return {name: plain(content) for name, content in vars(answer).items() if name[0] != "_"}
