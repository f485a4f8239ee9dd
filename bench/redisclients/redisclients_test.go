package main

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"eventworker/internal/realtest/servers"
)

// All clients have the same exchanges: what one writes is there as the others write it, and all read the same.
func TestAllClientsWriteAndReadTheSame(t *testing.T) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("there is no redis-server here")
	}
	server, err := servers.StartRedis(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}()
	admin := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer admin.Close()
	w := newWork(3, 500)
	c := w.chunk()
	want := make(map[string]int)
	for _, r := range c.written {
		want[r.key]++
	}
	read := 0
	for _, key := range c.asked {
		read += min(want[key], 32)
	}
	for _, l := range libraries {
		if err := admin.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		shared, err := l.open(t.Context(), server.Addr)
		if err != nil {
			t.Fatal(err)
		}
		client := shared.another()
		for range 2 { // commands that are used again carry nothing over
			if err := client.write(t.Context(), c.written); err != nil {
				t.Fatalf("%s: %v", l.name, err)
			}
			members, bytes, err := client.read(t.Context(), c.asked)
			if err != nil || members != read || bytes < members*markSize {
				t.Errorf("%s: %d members of %d bytes, want %d: %v", l.name, members, bytes, read, err)
			}
		}
		for key, n := range want {
			if have := admin.ZCard(t.Context(), key).Val(); have != int64(n) || admin.PTTL(t.Context(), key).Val() <= 0 {
				t.Errorf("%s: %s has %d members, not %d, or lives for ever", l.name, key, have, n)
			}
		}
		if n := admin.DBSize(t.Context()).Val(); n != int64(len(want))+1 {
			t.Errorf("%s: %d keys, want %d and the beacon", l.name, n, len(want))
		}
		if err := shared.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// The table has a line for each client.
func TestTheTableNamesAllClients(t *testing.T) {
	var out strings.Builder
	results := make(map[string][]result)
	for i, l := range libraries {
		results[l.name] = []result{{cpu: float64(i) + 9}, {cpu: float64(i) + 1}, {cpu: float64(i) + 0.5}}
	}
	if err := printTable(&out, results); err != nil {
		t.Fatal(err)
	}
	for i, l := range libraries {
		if !strings.Contains(out.String(), l.name) || !strings.Contains(out.String(), fmt.Sprintf("%d.00", i+1)) {
			t.Errorf("no median of %s:\n%s", l.name, &out)
		}
	}
}
