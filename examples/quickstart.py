"""Count words in child processes: the example of the README."""

from limen import Limen, Retry, activity


@activity(queue="words", retry=Retry(max_attempts=3))
def count(text: str) -> int:
    """Count the words of a text."""
    return len(text.split())


if __name__ == "__main__":
    with Limen() as app:
        app.worker("words", activities=[count], max_concurrent=4, executor="process")
        print(app.dispatch(count, "the place where work passes on").result(timeout=10))
        for row in app.pool("words"):
            print(row.worker_id, row.in_flight, row.free)
