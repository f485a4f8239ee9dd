package querystore

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // the name that Redis gives a script
	"encoding/hex"
	"strconv"
)

// The keys of the store, behind store.redis.key_prefix (docs/redis.md):
//
//	shown:<application>:<userToken>    sorted set: impressions of a user, the score is their time
//	clicked:<application>:<userToken>  sorted set: remembered clicks of a user, and marks of delivered messages
//	task:<number>, task:{<tag>}:<number>  hash: what the effects of a task cover; one on every master of a cluster
//	topics                             hash: the number of each topic
//	store                              hash: the version of this layout and the consumer group it serves
//
// Tokens hold no colon, so that names of applications may.
const (
	keyShown   = "shown:"
	keyClicked = "clicked:"
	keyTask    = "task:"
	keyTopics  = "topics"
	keyStore   = "store"
)

// layoutVersion is the version of the keys and of what they hold.
const layoutVersion = "1"

// OutsideSource is the source of a record that did not come from a topic: a storefront wrote it into Redis.
// Every look-up sees it.
const OutsideSource = 1<<16 - 1

const (
	// maxHistory is how many of a user's impressions are kept, and how many of their clicks and marks
	// together: the newest by time. The contract counts the newest 200 impressions at an event's time.
	maxHistory = 1000
	// trimEvery says that every so many touches bound the sets.
	trimEvery = 8
	// trimFrom is the number of records from which on those that have expired are removed when the next
	// one is written. Before, their key's time to live takes them.
	trimFrom = 32
)

// appendSetKey appends the key of the sorted set that holds the records of a key of a section.
func appendSetKey(dst []byte, prefix string, user []byte, kind Kind) []byte {
	dst = append(dst, prefix...)
	if kind == KindImpression {
		dst = append(dst, keyShown...)
	} else {
		dst = append(dst, keyClicked...)
	}
	application, token, _ := bytes.Cut(user, []byte{0})
	return append(append(append(dst, application...), ':'), token...)
}

// beaconKey is the key of what the effects of a task cover, on the node that the tag leads to; without a
// tag there is one node.
func beaconKey(prefix, tag string, task int32) string {
	number := strconv.FormatInt(int64(task), 10)
	if tag == "" {
		return prefix + keyTask + number
	}
	return prefix + keyTask + "{" + tag + "}:" + number
}

// script is a Lua script; hash is what Redis calls it once it knows it.
type script struct {
	source string
	hash   any
}

func newScript(source string) *script {
	sum := sha1.Sum([]byte(source)) //nolint:gosec // see above
	return &script{source, hex.EncodeToString(sum[:])}
}

// scripts are the commands that Redis has to make out of several.
var scripts = struct{ touch, bump, cover, topic, retire *script }{
	// touch lets the time to live of sets begin anew, and bounds them if it is told to.
	// KEYS: the sets. ARGV: time to live (ms); to bound them also the newest records kept, and the time before
	// which records have expired. Without arguments it does nothing.
	touch: newScript(`
if #ARGV == 0 then return 0 end
for i = 1, #KEYS do
  local key = KEYS[i]
  redis.call('PEXPIRE', key, ARGV[1])
  if ARGV[2] then
    local have, most = redis.call('ZCARD', key), tonumber(ARGV[2])
    if have > ` + strconv.Itoa(trimFrom) + ` then
      have = have - redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. ARGV[3])
      if have > most then redis.call('ZREMRANGEBYRANK', key, 0, have - most - 1) end
    end
  end
end
return 1`),
	// bump says that everything written so far reached this node. It fails (0) if the node does not know
	// the write before: it lost it.
	// KEYS: the beacon. ARGV: the number of the write before, of this one, time to live (ms).
	bump: newScript(`
if #ARGV == 0 then return 0 end
local seq = redis.call('HGET', KEYS[1], 'seq')
if seq ~= ARGV[1] and seq ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'seq', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`),
	// cover notes what the effects cover, unless the node lost a write.
	// KEYS: the beacon. ARGV: the number of the newest write, time to live (ms), then field and value of
	// each source.
	cover: newScript(`
if #ARGV == 0 then return 0 end
if redis.call('HGET', KEYS[1], 'seq') ~= ARGV[1] then return 0 end
if #ARGV > 2 then redis.call('HSET', KEYS[1], unpack(ARGV, 3)) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`),
	// topic gives a topic's number, a new one if it has none.
	// KEYS: the topics. ARGV: the topic, the least number that a new one may have.
	topic: newScript(`
local n = redis.call('HGET', KEYS[1], 't:' .. ARGV[1])
if n then return tonumber(n) end
if tonumber(redis.call('HGET', KEYS[1], 'next') or '0') < tonumber(ARGV[2]) then redis.call('HSET', KEYS[1], 'next', ARGV[2]) end
n = redis.call('HINCRBY', KEYS[1], 'next', 1) - 1
redis.call('HSET', KEYS[1], 't:' .. ARGV[1], n)
return n`),
	// retire gives a topic that was made anew another number, unless another task has done it; the old
	// one's records are passed over from now on.
	// KEYS: the topics. ARGV: the topic, the least number that a new one may have, its old one.
	retire: newScript(`
local n = redis.call('HGET', KEYS[1], 't:' .. ARGV[1])
redis.call('HSET', KEYS[1], 'dead:' .. ARGV[3], 1)
if n and n ~= ARGV[3] then return tonumber(n) end
if tonumber(redis.call('HGET', KEYS[1], 'next') or '0') < tonumber(ARGV[2]) then redis.call('HSET', KEYS[1], 'next', ARGV[2]) end
n = redis.call('HINCRBY', KEYS[1], 'next', 1) - 1
redis.call('HSET', KEYS[1], 't:' .. ARGV[1], n)
return n`),
}

// slots is the number of hash slots of a cluster.
const slots = 16384

// slotOf is the hash slot of a key without a hash tag (CRC16/XMODEM of it).
func slotOf(key string) int {
	crc := uint16(0)
	for i := range len(key) {
		crc ^= uint16(key[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc) % slots
}

// tagOf is a hash tag that leads to a slot.
func tagOf(slot int) string {
	for i := 0; ; i++ {
		if tag := strconv.Itoa(i); slotOf(tag) == slot {
			return tag
		}
	}
}
