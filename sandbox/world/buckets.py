"""Rate limits: one token bucket per application, seller, region and operation."""

from dataclasses import dataclass

BucketKey = tuple[str, str, str, str]


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


class Buckets:
    """All buckets of the sandbox, by (client id, seller id, region, operation)."""

    def __init__(self) -> None:
        self._buckets: dict[BucketKey, _Bucket] = {}

    def take(self, key: BucketKey, *, rate: float, burst: int, now: float) -> bool:
        """Take one token; False if the bucket is empty.

        `rate` is tokens per second, `burst` the size of the bucket, `now` the clock's simulated seconds.
        """
        bucket = self._buckets.setdefault(key, _Bucket(float(burst), now))
        bucket.tokens = min(float(burst), bucket.tokens + (now - bucket.filled_at) * rate)
        bucket.filled_at = now
        if bucket.tokens < 1.0:
            return False
        bucket.tokens -= 1.0
        return True

    def clear(self) -> None:
        """Fill every bucket."""
        self._buckets.clear()
