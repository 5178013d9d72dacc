"""A server that answers as a script says, and remembers what it was asked."""

import httpx
import orjson


class Script:
    """Answers requests with the next entry; an exception among them is raised."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def last(self):
        return self.requests[-1]

    def body(self, index=-1):
        return orjson.loads(self.requests[index].content)


def answer(value=None, status=200, **headers):
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return httpx.Response(status, json=value, headers=named)


def stream(content, **headers):
    named = {"content-type": "text/event-stream"} | {
        k.replace("_", "-"): v for k, v in headers.items()
    }
    if isinstance(content, bytes):
        return httpx.Response(200, content=content, headers=named)
    return httpx.Response(200, stream=content, headers=named)
