"""The scripts that change a stream: each is one atomic act on the server.

A stream is a Redis stream of entries. An entry holds the events of one batch: after the id of the
event before it, which shows readers whether they missed something, fields of ``mode NUL name`` and
the event's bytes. Its own id is the id of its last event, the ids of the others precede it without
gaps. Ids come from one clock for all streams, so they increase strictly across streams as well, and
also when the server's clock goes back. Other entries are marks: the stream was closed, or has lost
events at this place.

Beside it, ``meta`` tells whether the stream is closed, the last id, the last id that was trimmed,
the fence, and which batch of each writer came last: a batch that is sent again after a lost
connection is taken once. ``marks`` are places where the stream can be cut, a tenth of its bounds
apart.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

CLOSED = b"closed"
GAP = b"gap"

_COMMON = """
local events, meta, marks, over, clock = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local function advance(count)
  local time = redis.call('TIME')
  local ms, n = time[1] * 1000 + math.floor(time[2] / 1000), -1
  local last = redis.call('HGET', clock, 'id')
  if last then
    local a, b = string.match(last, '(%d+)-(%d+)')
    if tonumber(a) >= ms then ms, n = tonumber(a), tonumber(b) end
  end
  local id = string.format('%.0f-%.0f', ms, n + count)
  redis.call('HSET', clock, 'id', id)
  return id
end
local function expire(ms)
  for i = 1, 4 do redis.call('PEXPIRE', KEYS[i], ms) end
end
"""

_APPEND = """
local writer, number, begun, idle = 'w:' .. ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local most, most_bytes = tonumber(ARGV[5]), tonumber(ARGV[6])
local gap, count, bytes, fence = ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local m = redis.call('HMGET', meta,
  'closed', writer, 'n', 'b', 'N', 'B', 'touched', 'last', 'fence')
if m[1] or (m[2] and tonumber(m[2]) >= tonumber(number)) then return 0 end
if fence < tonumber(m[9] or 0) then return 0 end
if gap == '1' or (begun == '1' and not m[7]) then
  redis.call('XADD', events, advance(1), 'gap', m[8] or '0-0')
end
local n, b = tonumber(m[3] or 0) + count, tonumber(m[4] or 0) + bytes
local all, all_bytes = tonumber(m[5] or 0) + count, tonumber(m[6] or 0) + bytes
local id
if count > 0 then
  id = advance(count)
  redis.call('XADD', events, id, m[8] or '0-0', '', unpack(ARGV, 11))
  redis.call('HSET', meta, 'last', id)
end
if n * 10 >= most or b * 10 >= most_bytes then
  redis.call('RPUSH', marks, string.format('%s %.0f %.0f', id, n, b))
  redis.call('PEXPIRE', marks, idle)
  n, b = 0, 0
end
while all > most or all_bytes > most_bytes do
  local mark = redis.call('LINDEX', marks, 0)
  if not mark then break end
  local ms, k, dropped, dropped_bytes = string.match(mark, '(%d+)-(%d+) (%d+) (%d+)')
  if ms .. '-' .. k == id then break end
  redis.call('LPOP', marks)
  redis.call('XTRIM', events, 'MINID', string.format('%s-%.0f', ms, tonumber(k) + 1))
  redis.call('HSET', meta, 'trimmed', ms .. '-' .. k)
  all, all_bytes = all - tonumber(dropped), all_bytes - tonumber(dropped_bytes)
end
redis.call('HSET', meta, writer, number, 'n', n, 'b', b, 'N', all, 'B', all_bytes, 'fence', fence)
local now = tonumber(redis.call('TIME')[1])
if not m[7] or (now - tonumber(m[7])) * 10000 > idle then
  redis.call('HSET', meta, 'touched', now)
  expire(idle)
end
return 1
"""

_END = """
local function finish()
  local id = advance(1)
  redis.call('XADD', events, id, 'closed', redis.call('HGET', meta, 'last') or '0-0')
  redis.call('XADD', over, id, 'closed', '')
  redis.call('HSET', meta, 'closed', id)
end
"""

_CLOSE = """
if not redis.call('HGET', meta, 'closed') then finish() end
expire(ARGV[1])
return 1
"""

_DISCARD = """
redis.call('DEL', events, meta, marks, over)
finish()
expire(ARGV[1])
return 1
"""

_REOPEN = """
local id = redis.call('HGET', meta, 'closed')
if not id then return 0 end
redis.call('XDEL', events, id)
redis.call('DEL', over)
redis.call('HDEL', meta, 'closed')
expire(ARGV[1])
return 1
"""


@dataclass(frozen=True, slots=True)
class Script:
    text: str
    sha: str

    @classmethod
    def of(cls, *parts: str) -> Script:
        text = "".join(parts)
        # The server names scripts by this hash; nothing relies on its strength.
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


APPEND: Script = Script.of(_COMMON, _APPEND)
CLOSE: Script = Script.of(_COMMON, _END, _CLOSE)
DISCARD: Script = Script.of(_COMMON, _END, _DISCARD)
REOPEN: Script = Script.of(_COMMON, _REOPEN)
ALL: tuple[Script, ...] = (APPEND, CLOSE, DISCARD, REOPEN)
