"""The buckets of keys as all worker processes share them: levels in Redis, filled and emptied in one step there."""

from collections.abc import Mapping, Sequence

from worker.llm.limits import Told

#: For each bucket of a key: fill it up to now, set it to what is known, take something out. Returns what is left then.
#: Redis' own clock counts, so processes need not agree on the time. What nobody uses is forgotten once it is full.
SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local told, longest = {}, 0
for i = 1, #ARGV, 5 do
  local kind = ARGV[i]
  local kept = redis.call('HMGET', KEYS[1], kind .. ':limit', kind .. ':rate', kind .. ':left', kind .. ':at')
  local limit = tonumber(ARGV[i + 1]) or tonumber(kept[1] or '')
  local rate = tonumber(ARGV[i + 2]) or tonumber(kept[2] or '')
  if limit and rate then
    local left = tonumber(ARGV[i + 4])
    if not left then
      left = kept[3] and math.min(limit, kept[3] + (now - kept[4]) * rate) or limit
    end
    left = math.max(left - ARGV[i + 3], -limit)
    redis.call('HSET', KEYS[1], kind .. ':limit', limit, kind .. ':rate', tostring(rate),
      kind .. ':left', tostring(left), kind .. ':at', string.format('%.6f', now))
    longest = math.max(longest, (limit - left) / rate)
    for _, each in ipairs({kind, tostring(limit), tostring(left), tostring(rate)}) do table.insert(told, each) end
  end
end
if #told > 0 then redis.call('PEXPIRE', KEYS[1], math.ceil(longest * 1000) + 60000) end
return told
"""


def look(kinds: Sequence[str]) -> list[str]:
    """Return the script's arguments that change nothing."""
    return [argument for kind in kinds for argument in (kind, "", "", "0", "")]


def take(kind: str, sizes: tuple[float, float], amount: float) -> list[str]:
    """Return the arguments that take an amount out of a bucket of this limit and rate."""
    limit, rate = sizes
    return [kind, repr(limit), repr(rate), repr(float(amount)), ""]


def put(limits: Mapping[str, Told]) -> list[str]:
    """Return the arguments that set buckets to what a provider says."""
    return [
        argument
        for kind, told in limits.items()
        for argument in (kind, repr(told.limit), repr(told.rate), "0", repr(told.left))
    ]


def read(answer: Sequence[bytes]) -> dict[str, Told]:
    """Return the script's answer by kind of bucket."""
    parts = [each.decode() for each in answer]
    return {
        kind: Told(float(limit), float(left), float(rate))
        for kind, limit, left, rate in zip(parts[::4], parts[1::4], parts[2::4], parts[3::4], strict=True)
    }
