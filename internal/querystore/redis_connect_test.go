package querystore

import "testing"

// Redis and Valkey say in fields of different names what they are.
func TestServersSayWhatTheyAre(t *testing.T) {
	for info, want := range map[string]string{
		"# Server\r\nredis_version:7.0.15\r\nredis_mode:cluster\r\nos:Linux\r\n":                                      RedisCluster,
		"# Server\r\nserver_name:valkey\r\nvalkey_version:8.1.8\r\nserver_mode:cluster\r\nos:Linux\r\n":               RedisCluster,
		"# Server\r\nserver_name:valkey\r\nvalkey_version:8.1.8\r\nserver_mode:sentinel\r\nos:Linux\r\n":              RedisSentinel,
		"# Server\r\nserver_name:valkey\r\nvalkey_version:8.1.8\r\nserver_mode:standalone\r\nredis_version:7.2.4\r\n": "standalone",
		"": "",
	} {
		if got := serverMode(info); got != want {
			t.Errorf("%q: %q instead of %q", info, got, want)
		}
	}
}

// The tag of a slot leads there, and a key's slot is that of the servers' own hash.
func TestTagsLeadToTheirSlots(t *testing.T) {
	if got := slotOf("123456789"); got != 0x31C3 { // the check value of CRC16/XMODEM, below 16384
		t.Errorf("slot %#x", got)
	}
	for _, slot := range []int{0, 1, 5461, 10923, slots - 1} {
		if got := slotOf(tagOf(slot)); got != slot {
			t.Errorf("the tag of slot %d leads to %d", slot, got)
		}
	}
}
