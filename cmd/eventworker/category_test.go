package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"eventworker/internal/config"
	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
	"eventworker/internal/dlq"
	"eventworker/internal/insights"
)

func TestErrorsHaveACategoryThatTheirTypesTell(t *testing.T) {
	stopped, cancel := context.WithCancelCause(context.Background())
	cancel(&interrupted{syscall.SIGINT})
	for _, c := range []struct {
		name string
		ctx  context.Context
		err  error
		want string
	}{
		{"cobra's", nil, errors.New("required flag"), categoryCall},
		{"usage", nil, ran{usagef("", "bad: %w", os.ErrNotExist)}, categoryCall},
		{"the desk's", nil, ran{&dlq.CallError{Problem: "x"}}, categoryCall},
		{"a setting", nil, ran{callError(&dlq.CallError{Problem: "x", Setting: "kafka.replay_topic"})}, categoryConfig},
		{"configuration", nil, ran{&config.Error{Problems: []config.Problem{{Path: "a", Message: "b"}}}}, categoryConfig},
		{"no such topic", nil, ran{failf("", "%w", kafka.UnknownTopicOrPartition)}, categoryConfig},
		{"group", nil, ran{failf("", "x: %w", kafka.GroupAuthorizationFailed)}, categoryAuth},
		{"topic", nil, ran{&consume.DeniedError{Resource: "topic a", Operation: "Read", Err: kafka.TopicAuthorizationFailed}}, categoryAuth},
		{"password", nil, ran{fmt.Errorf("x: %w", kafka.SASLAuthenticationFailed)}, categoryAuth},
		{"certificate", nil, ran{fmt.Errorf("x: %w", x509.UnknownAuthorityError{})}, categoryAuth},
		{"a worker's token", nil, ran{failf("", "%w", &adminRefusal{http.StatusUnauthorized, "x"})}, categoryAuth},
		{"refused connection", nil, ran{fmt.Errorf("x: %w", syscall.ECONNREFUSED)}, categoryNetwork},
		{"deadline", nil, ran{fmt.Errorf("x: %w", context.DeadlineExceeded)}, categoryNetwork},
		{"no leader", nil, ran{failf("", "%w", kafka.LeaderNotAvailable)}, categoryNetwork},
		{"no worker", nil, ran{fmt.Errorf("%w at x", errNoWorker)}, categoryNetwork},
		{"the API", nil, ran{fmt.Errorf("x: %w", &insights.RetryableError{Cause: syscall.ECONNREFUSED})}, categoryAPI},
		{"a letter", nil, ran{fmt.Errorf("x: %w", &deadletter.FormatError{Header: "a", Problem: "b"})}, categoryData},
		{"JSON", nil, ran{json.Unmarshal([]byte("{"), new(int))}, categoryData},
		{"remainder", nil, ran{withCode(exitRemainder, "", errors.New("2 refused"))}, categoryData},
		{"guard", nil, ran{withCode(exitGuard, "", errors.New("canary"))}, categoryGuard},
		{"signal", stopped, ran{fmt.Errorf("x: %w", context.Canceled)}, categoryGuard},
		{"anything else", nil, ran{errors.New("disk full")}, categoryInternal},
	} {
		ctx := c.ctx
		if ctx == nil {
			ctx = context.Background()
		}
		if got := categoryOf(ctx, c.err); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		var errs bytes.Buffer
		a := &app{streams: streams{err: &errs}, asJSON: true}
		a.report(ctx, c.err)
		valid(t, errorDocumentSchema, errs.String())
		if !strings.Contains(errs.String(), `"category":"`+c.want+`"`) || strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("%s: %s", c.name, errs.String())
		}
	}
}

func TestWhatBrokersSayIsTranslatedAndKept(t *testing.T) {
	for want, err := range map[string]error{
		"x: not authorised for group g (GROUP_AUTHORIZATION_FAILED)":                                 fmt.Errorf("x: %w", kafka.GroupAuthorizationFailed),
		"not authorised for topic a (TOPIC_AUTHORIZATION_FAILED): the user needs the operation Read": &consume.DeniedError{Resource: "topic a", Operation: "Read", Err: kafka.TopicAuthorizationFailed},
		"x: the partition has no leader at the moment (LEADER_NOT_AVAILABLE)":                        fmt.Errorf("x: %w", kafka.LeaderNotAvailable),
		"topic a does not exist (UNKNOWN_TOPIC_OR_PARTITION): x":                                     fmt.Errorf("topic a does not exist: %w: x", kafka.UnknownTopicOrPartition),
		"[87] ": kafka.InvalidRecord, // which is not translated
		"plain": errors.New("plain"),
	} {
		if got := inKafkaWords(err, err.Error(), "g"); !strings.HasPrefix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Whoever asks for JSON gets errors as JSON, whatever is wrong and wherever the flag stands.
func TestErrorsAreJSONWhereJSONWasAskedFor(t *testing.T) {
	client, env, flags := lettersBroker(t)
	putLetters(t, client, testLetters()...)
	away := []string{"--set", "kafka.brokers=127.0.0.1:1", "--set", "kafka.topics=events"}
	for _, c := range []struct {
		category string
		code     int
		args     []string
	}{
		{categoryCall, exitUsage, []string{"dlq", "list", "--zz", "-o", "json"}},
		{categoryCall, exitUsage, []string{"dlq", "list", "-ojsonl", "--zz"}},
		{categoryCall, exitUsage, []string{"dlq", "lits", "--output=json"}},
		{categoryCall, exitUsage, slices.Concat([]string{"dlq", "stats", "-o", "json", "--reason", "invald"}, flags)},
		{categoryCall, exitUsage, slices.Concat([]string{"dlq", "replay", "-o", "json"}, flags)},
		{categoryConfig, exitUsage, []string{"dlq", "list", "-o", "json", "--set", "kafka.brokesr=x"}},
		{categoryConfig, exitFailed, slices.Concat([]string{"dlq", "list", "-o", "json"}, flags, []string{"--set", "kafka.dead_letter_topic=nowhere"})},
		{categoryData, exitFailed, slices.Concat([]string{"dlq", "show", "2:17", "-o", "json"}, flags)},
		{categoryNetwork, exitFailed, slices.Concat([]string{"dlq", "stats", "-o", "json"}, away)},
		{categoryNetwork, exitFailed, slices.Concat([]string{"group", "show", "-o", "json"}, away)},
	} {
		r := call(t, env, c.args...)
		lines := strings.Split(strings.TrimSpace(r.err), "\n")
		last := lines[len(lines)-1]
		valid(t, errorDocumentSchema, last)
		var told toldError
		if err := json.Unmarshal([]byte(last), &told); err != nil || r.code != c.code || told.Category != c.category || strings.Contains(r.err, "Error: ") {
			t.Errorf("%v: exit code %d, %s; want %d and %s", c.args, r.code, r.err, c.code, c.category)
		}
	}
	if r := call(t, env, "dlq", "list", "-o", "csv", "--zz"); !strings.HasPrefix(r.err, "Error: ") {
		t.Errorf("an error beside CSV is no text: %s", r.err)
	}
}

// A broker that refuses the user is told in plain words, and as auth.
func TestARefusedUserIsToldInPlainWords(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "events", "events.dead-letter"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	cluster.ControlKey(int16(kmsg.DescribeGroups), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		res := req.ResponseKind().(*kmsg.DescribeGroupsResponse)
		for _, name := range req.(*kmsg.DescribeGroupsRequest).Groups {
			g := kmsg.NewDescribeGroupsResponseGroup()
			g.Group, g.ErrorCode = name, int16(kafka.GroupAuthorizationFailed)
			res.Groups = append(res.Groups, g)
		}
		return res, nil, true
	})
	flags := []string{"--set", "kafka.brokers=" + strings.Join(cluster.ListenAddrs(), ","), "--set", "kafka.topics=events", "--set", "kafka.group=shop-g"}
	r := call(t, nil, append([]string{"group", "show"}, flags...)...)
	if r.code != exitFailed || !strings.Contains(r.err, "not authorised for group shop-g (GROUP_AUTHORIZATION_FAILED)") {
		t.Errorf("%+v", r)
	}
	r = call(t, nil, append([]string{"group", "show", "-o", "json"}, flags...)...)
	if r.code != exitFailed || !strings.Contains(r.err, `"category":"auth"`) {
		t.Errorf("%+v", r)
	}
}
