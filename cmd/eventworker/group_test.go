package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"eventworker/internal/consume"
	"eventworker/internal/worker"
)

// shopGroup is a broker with a topic of three partitions with 10 messages each, a minute apart, and what
// a command line needs to find it.
func shopGroup(t *testing.T) (client *kgo.Client, flags []string) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "events"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	client, err = kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MaxVersions(kversion.V3_0_0())) // later ones commit by the topic's id
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	began := time.UnixMilli(1_764_000_000_000)
	for p := range int32(3) {
		for i := range 10 {
			r := &kgo.Record{Topic: "events", Partition: p, Value: []byte("v"), Timestamp: began.Add(time.Duration(i) * time.Minute)}
			if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, s := range []string{"kafka.brokers=" + strings.Join(cluster.ListenAddrs(), ","), "kafka.topics=events", "kafka.group=g", "kafka.replay_topic=events.replay"} {
		flags = append(flags, "--set", s)
	}
	return client, flags
}

// committed gives the group's offsets, as group show tells them.
func committed(t *testing.T, flags []string) (offsets [3]int64, doc shownGroup) {
	t.Helper()
	r := call(t, nil, append([]string{"group", "show", "-o", "json"}, flags...)...)
	if r.code != exitOK {
		t.Fatalf("group show: %+v", r)
	}
	valid(t, groupShowSchema, r.out)
	if err := json.Unmarshal([]byte(r.out), &doc); err != nil {
		t.Fatal(err)
	}
	for _, p := range doc.Partitions {
		offsets[p.Partition] = p.Committed
	}
	return offsets, doc
}

func TestGroupResetMovesWhatThePlanShowed(t *testing.T) {
	_, flags := shopGroup(t)
	reset := func(want int, args ...string) result {
		t.Helper()
		r := call(t, nil, append(append([]string{"group", "reset"}, args...), flags...)...)
		if r.code != want {
			t.Fatalf("group reset %v: %+v, want exit code %d", args, r, want)
		}
		return r
	}
	expect := func(want ...int64) {
		t.Helper()
		if got, _ := committed(t, flags); got != [3]int64(want) {
			t.Fatalf("committed %v, want %v", got, want)
		}
	}
	expect(-1, -1, -1)
	r := reset(exitOK, "--to-latest", "--dry-run")
	if !strings.Contains(r.out, "events          0          –  10      0        10\n") || !strings.Contains(r.err, "0 offsets would be read again, 30 left out") {
		t.Errorf("the plan:\n%s%s", r.out, r.err)
	}
	expect(-1, -1, -1)
	if r := reset(exitUsage, "--to-latest"); !strings.Contains(r.err, "--yes") {
		t.Errorf("without --yes off a terminal: %s", r.err)
	}
	expect(-1, -1, -1)
	if code := run(t.Context(), append([]string{"group", "reset", "--to-latest", "--yes"}, flags...), streams{in: strings.NewReader(""), out: closed{}, err: io.Discard}); code != exitOK {
		t.Fatalf("its reader went away: exit code %d", code)
	}
	expect(10, 10, 10)
	reset(exitOK, "--to-offset", "4", "--topic", "events", "--partition", "1", "--yes")
	expect(10, 4, 10)
	reset(exitOK, "--to-time", "2025-11-24T16:02:30Z", "--partition", "0,2", "--yes") // the third message is at 16:02
	expect(3, 4, 3)
	reset(exitOK, "--to-time", "1764000540001", "--partition", "2", "--yes") // after the last
	expect(3, 4, 10)
	r = reset(exitOK, "--to-earliest", "--yes", "-o", "json")
	valid(t, groupResetSchema, r.out)
	var plan resetPlan
	if err := json.Unmarshal([]byte(r.out), &plan); err != nil || plan.Schema != "eventworker.group.reset/v1" || plan.Group != "g" || len(plan.Partitions) != 3 || plan.Partitions[1].Again != 4 {
		t.Errorf("the plan as JSON: %v\n%s", err, r.out)
	}
	expect(0, 0, 0)
	if r := reset(exitOK, "--to-earliest", "--yes"); !strings.Contains(r.err, "nothing to move") {
		t.Errorf("again: %s", r.err)
	}
	for _, wrong := range [][]string{
		{"--yes"}, {"--to-earliest", "--to-latest", "--yes"}, {"--to-offset", "4", "--yes"}, {"--to-offset", "11", "--topic", "events", "--partition", "1", "--yes"},
		{"--to-offset", "-1", "--topic", "events", "--partition", "1", "--yes"}, {"--to-time", "1764000540", "--yes"}, {"--to-time", "yesterday", "--yes"},
		{"--to-latest", "--topic", "other", "--yes"}, {"--to-latest", "--partition", "3", "--yes"}, {"--to-latest", "-o", "xml", "--yes"},
	} {
		reset(exitUsage, wrong...)
	}
	expect(0, 0, 0)
}

func TestGroupResetIsRefusedWhileMembersAreActive(t *testing.T) {
	client, flags := shopGroup(t)
	reset := append([]string{"group", "reset", "--to-latest", "--yes"}, flags...)
	if r := call(t, nil, append([]string{"group", "reset", "--to-earliest", "--yes"}, flags...)...); r.code != exitOK {
		t.Fatalf("%+v", r)
	}
	member, err := kgo.NewClient(append(client.Opts(), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("events"), kgo.DisableAutoCommit(), kgo.ClientID("other"))...)
	if err != nil {
		t.Fatal(err)
	}
	if fetches := member.PollFetches(t.Context()); fetches.Err() != nil {
		t.Fatal(fetches.Err())
	}
	r := call(t, nil, reset...)
	if r.code != exitGuard || !strings.Contains(r.err, "1 member") || !strings.Contains(r.out, "LEFT-OUT") {
		t.Errorf("%+v, want the plan and exit code %d", r, exitGuard)
	}
	offsets, doc := committed(t, flags)
	if offsets != [3]int64{0, 0, 0} || len(doc.Members) != 1 || doc.Members[0].Client != "other" || doc.Partitions[0].Owner != doc.Members[0].ID {
		t.Errorf("the group is %+v", doc)
	}
	if table := call(t, nil, append([]string{"group", "show"}, flags...)...); !strings.Contains(table.out, "other@") || !strings.Contains(table.err, "1 member") {
		t.Errorf("%+v", table)
	}
	member.Close()
	if r := call(t, nil, reset...); r.code != exitOK {
		t.Errorf("after the member left: %+v", r)
	}
}

func TestGroupShowTellsWhatIsSettledBeyondTheCommit(t *testing.T) {
	client, flags := shopGroup(t)
	if r := call(t, nil, append([]string{"group", "reset", "--to-earliest", "--partition", "0,1", "--yes"}, flags...)...); r.code != exitOK {
		t.Fatalf("%+v", r)
	}
	commit := func(partition int32, offset int64, metadata string) {
		t.Helper()
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Group, req.Generation = "g", -1
		rt := kmsg.NewOffsetCommitRequestTopic()
		rt.Topic = "events"
		rp := kmsg.NewOffsetCommitRequestTopicPartition()
		rp.Partition, rp.Offset, rp.Metadata = partition, offset, &metadata
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		res, err := req.RequestWith(context.Background(), client)
		if err != nil || res.Topics[0].Partitions[0].ErrorCode != 0 {
			t.Fatal(err, res)
		}
	}
	// As a worker wrote it: 2 offsets not settled, 3 settled, 1 not, 2 settled.
	commit(0, 2, (&worker.Commit{Progress: 7, Settled: []consume.Range{{From: 4, To: 7}, {From: 8, To: 10}}}).Text("g", "events", 0, 2))
	commit(1, 2, "somebody else's")
	_, doc := committed(t, flags)
	p := doc.Partitions[0]
	if p.Metadata != "own" || fmt.Sprint(p.Settled) != "[{4 7} {8 10}]" || p.Lag != 3 {
		t.Errorf("partition 0 is %+v, want 5 offsets settled and 3 left", p)
	}
	if p := doc.Partitions[1]; p.Metadata != "foreign" || len(p.Settled) != 0 || p.Lag != 8 {
		t.Errorf("partition 1 is %+v", p)
	}
	if p := doc.Partitions[2]; p.Metadata != "none" || p.Lag != 10 {
		t.Errorf("partition 2 is %+v", p)
	}
}

func TestGroupSkipSaysWhatTheWorkerSays(t *testing.T) {
	var asked string
	code, body := http.StatusOK, `{"schema":"eventworker.skip/v1","done":true,"message":"its dead letter is on its way"}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Method + " " + r.URL.String()
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}))
	defer server.Close()
	skip := func() result {
		return call(t, nil, "group", "skip", "--admin", strings.TrimPrefix(server.URL, "http://"), "--topic", "events", "--partition", "3", "--offset", "12")
	}
	if r := skip(); r.code != exitOK || !strings.Contains(r.err, "on its way") || asked != "POST /partitions/skip?offset=12&partition=3&topic=events" {
		t.Errorf("%+v after %s", r, asked)
	}
	code, body = http.StatusConflict, `{"schema":"eventworker.skip/v1","message":"the oldest is the one at 13"}`
	if r := skip(); r.code != exitGuard || !strings.Contains(r.err, "the oldest is the one at 13") {
		t.Errorf("%+v", r)
	}
	code, body = http.StatusNotFound, "not found"
	if r := skip(); r.code != exitFailed || !strings.Contains(r.err, "404") {
		t.Errorf("%+v", r)
	}
	server.Close()
	if r := skip(); r.code != exitFailed || !strings.Contains(r.err, "does not answer") {
		t.Errorf("%+v", r)
	}
}
