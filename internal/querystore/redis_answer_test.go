package querystore

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"eventworker/internal/realtest"
)

// Answers stay where they are when there is no more room, and an exchange that failed leaves nothing.
func TestAnswersStayWhereTheyAre(t *testing.T) {
	var a answers
	var kept [][]byte
	for i := range 40 {
		a.begin()
		member := bytes.Repeat([]byte{byte('a' + i%26)}, 10_000)
		fmt.Fprintf(&a, "*1\r\n$%d\r\n", len(member))
		if _, err := io.CopyN(&a, io.MultiReader(bytes.NewReader(member), strings.NewReader("\r\n*7\r\n")), int64(len(member))+2); err != nil {
			t.Fatal(err)
		}
		answer, next := a.answer(0, int64(len(member))+14)
		if next != len(answer) {
			t.Fatalf("an answer of %d bytes is %d long", next, len(answer))
		}
		if i%5 == 4 { // it failed
			a.undo()
			continue
		}
		members, err := split(answer, nil)
		if err != nil || len(members) != 1 || !bytes.Equal(members[0], member) {
			t.Fatalf("answer %d: %d members, %v", i, len(members), err)
		}
		kept = append(kept, members[0])
	}
	n := 0
	for i := range 40 {
		if i%5 == 4 {
			continue
		}
		if want := byte('a' + i%26); bytes.Count(kept[n], []byte{want}) != 10_000 {
			t.Errorf("answer %d was written over", i)
		}
		n++
	}
	room := cap(a.buf)
	if a.reset(room); cap(a.buf) != room || len(a.buf) != 0 {
		t.Error("room that may be kept is not")
	}
	if a.reset(room - 1); a.buf != nil {
		t.Error("room that is too large is kept")
	}
}

// Errors of a server are told from answers, and are its own.
func TestRefusalsAreToldFromAnswers(t *testing.T) {
	_, err := split([]byte("-WRONGTYPE Operation against a key\r\n"), nil)
	var refused redis.Error
	if !wrongType(err) || !errors.As(err, &refused) || strings.ContainsAny(err.Error(), "\r\n") {
		t.Errorf("%q", err)
	}
	for _, answer := range []string{"", "*", "*1\r\n", "*1\r\n$3\r\nab\r\n", "*1\r\n:3\r\n", "*0\r\n*0\r\n", "*x\r\n", "*1\n$1\r\na\r\n", "*1\r\n$99999999999\r\na\r\n"} {
		if members, err := split([]byte(answer), nil); !errors.Is(err, errAnswer) {
			t.Errorf("%q: %q, %v", answer, members, err)
		}
	}
}

// A connection that the server has closed meanwhile is no failure. Over TLS that is not seen before it is used.
func TestRedisConnectionsThatWereClosedAreReplaced(t *testing.T) {
	server := realtest.OwnRedisTLS(t)
	pem, err := os.ReadFile(server.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	opts := redisOptions(server.Addr)
	opts.TLS = trusting(t, pem)
	s := openRemote(t, newRedis(t, opts), 0)
	s.Source("t")
	write(t, s, list("u", 1000, 1, "sku"))
	admin := redis.NewClient(&redis.Options{Addr: server.Addr, TLSConfig: &tls.Config{InsecureSkipVerify: true}})
	defer admin.Close()
	for range 3 {
		if err := admin.Do(t.Context(), "client", "kill", "type", "normal", "skipme", "yes").Err(); err != nil {
			t.Fatal(err)
		}
		if err := s.Prefetch([][]byte{userKey("u"), userKey("v")}); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(offsets(t, s, userKey("u")), offsets(t, s, userKey("v"))); got != "[1] []" {
			t.Error(got)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
