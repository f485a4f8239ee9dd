package consume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// assigned lists the tasks of a consumer's current generation.
func assigned(r *recorder) (numbers []int32) {
	if g := r.generation(); g != nil {
		for _, t := range g.Tasks {
			numbers = append(numbers, t.Number)
		}
	}
	return numbers
}

// TestTwoMembersShareWholeTasksAndKeepThem: the second member gets half of the tasks, all topics of
// each; what the first keeps it keeps, and it gets all back when the second leaves.
func TestTwoMembersShareWholeTasksAndKeepThem(t *testing.T) {
	inWorld(t, func(w *world) {
		ra, rb := newRecorder(), newRecorder()
		a := w.run(w.config("clicks", "shown"), ra)
		ra.await(t, "all tasks", func() bool { return len(assigned(ra)) == 6 && a.Status().Ready })
		b := w.run(w.config("clicks", "shown"), rb)
		rb.await(t, "an even share", func() bool { return len(assigned(rb)) == 3 && len(assigned(ra)) == 3 })
		for _, r := range []*recorder{ra, rb} {
			for _, task := range r.generation().Tasks {
				if len(task.Partitions) != 2 || task.Partitions[0].Topic != "clicks" || task.Partitions[1].Topic != "shown" {
					t.Errorf("task %d is split: %d partitions", task.Number, len(task.Partitions))
				}
			}
		}
		kept := assigned(ra)
		moved := assigned(rb)
		rc := newRecorder()
		c := w.run(w.config("clicks", "shown"), rc)
		rc.await(t, "three shares", func() bool { return len(assigned(rc)) == 2 && len(assigned(ra)) == 2 && len(assigned(rb)) == 2 })
		for _, n := range assigned(ra) {
			if !slices.Contains(kept, n) {
				t.Errorf("task %d moved to a member that kept %v before", n, kept)
			}
		}
		for _, n := range assigned(rb) {
			if !slices.Contains(moved, n) {
				t.Errorf("task %d moved to a member that had %v before", n, moved)
			}
		}
		b.mustStop(t)
		c.mustStop(t)
		ra.await(t, "all tasks back", func() bool { return len(assigned(ra)) == 6 })
		a.mustStop(t)
	}, kfake.SeedTopics(6, "clicks", "shown"))
}

// TestAMemberThatOnlyKnowsRangeIsJoined: the group falls back to range, and nothing is unread.
func TestAMemberThatOnlyKnowsRangeIsJoined(t *testing.T) {
	inWorld(t, func(w *world) {
		old, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
			ID: "g", Brokers: w.brokers, Topics: []string{"clicks", "shown"}, Dialer: &kafka.Dialer{DialFunc: w.net.DialContext},
			GroupBalancers: []kafka.GroupBalancer{rangeBalancer{}}, HeartbeatInterval: time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		theirs := make(chan map[string][]kafka.PartitionAssignment, 10)
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				g, err := old.Next(context.Background())
				if errors.Is(err, kafka.ErrGroupClosed) {
					return
				}
				if err == nil {
					theirs <- g.Assignments
				}
			}
		})
		<-theirs
		r := newRecorder()
		c := w.run(w.config("clicks", "shown"), r)
		r.await(t, "half of the tasks", func() bool { return len(assigned(r)) == 2 })
		rest := <-theirs
		if len(rest["clicks"]) != 2 || len(rest["shown"]) != 2 {
			t.Errorf("the old member has %v", rest)
		}
		for _, task := range r.generation().Tasks {
			if len(task.Partitions) != 2 {
				t.Errorf("task %d has %d partitions, want 2", task.Number, len(task.Partitions))
			}
		}
		old.Close()
		wg.Wait()
		r.await(t, "all tasks", func() bool { return len(assigned(r)) == 4 })
		c.mustStop(t)
	}, kfake.SeedTopics(4, "clicks", "shown"))
}

// TestALateSettleNeverTouchesTheNextOwnersCommit: what an ended generation still held is settled after
// the partition moved; nothing of it is committed.
func TestALateSettleNeverTouchesTheNextOwnersCommit(t *testing.T) {
	inWorld(t, func(w *world) {
		for p := range int32(2) {
			w.produce("events", p, numbered("a", 10)...)
		}
		var mu sync.Mutex
		var late []*Chunk
		ra := newRecorder()
		ra.policy = func(c *Chunk, i int) {
			mu.Lock()
			defer mu.Unlock()
			if i == 0 {
				late = append(late, c)
			}
		}
		a := w.run(w.config("events"), ra)
		ra.await(t, "all messages", func() bool { return ra.count() == 20 })

		rb := newRecorder()
		rb.policy = func(c *Chunk, i int) {
			if c.Records[i].Offset < 3 {
				c.Settle(i)
			}
		}
		b := w.run(w.config("events"), rb)
		rb.await(t, "half of the partitions", func() bool { return len(assigned(rb)) == 1 && rb.count() == 10 })
		moved := assigned(rb)[0]
		rb.await(t, "its commit", func() bool { return w.committed("events", moved) == 3 })
		mu.Lock()
		for _, c := range late {
			if c.Partition.ID == moved {
				c.SettleAll()
			}
		}
		mu.Unlock()
		time.Sleep(3 * time.Second)
		if got := w.committed("events", moved); got != 3 {
			t.Errorf("committed %d, want 3: an ended generation committed", got)
		}
		a.mustStop(t)
		b.mustStop(t)
		if got := w.committed("events", moved); got != 3 {
			t.Errorf("committed %d after the stop, want 3", got)
		}
	}, kfake.SeedTopics(2, "events"))
}

// TestDrainAtARebalance: the old owner goes on for a moment under its old generation, stays a member,
// and what it settles meanwhile is committed, so that the new owner starts behind it.
func TestDrainAtARebalance(t *testing.T) {
	inWorld(t, func(w *world) {
		for p := range int32(2) {
			w.produce("events", p, numbered("a", 10)...)
		}
		var mu sync.Mutex
		var open []*Chunk
		ra := newRecorder()
		ra.policy = func(c *Chunk, i int) {
			if i == 0 {
				mu.Lock()
				open = append(open, c)
				mu.Unlock()
			}
		}
		ra.onDrain = func(g *Generation, cause error, ctx context.Context) {
			if !errors.Is(cause, ErrGenerationEnded) {
				return
			}
			select {
			case <-time.After(6 * time.Second):
			case <-ctx.Done():
				t.Error("the drain was cut short")
			}
			if !g.Alive() {
				t.Error("the membership was lost during the drain")
			}
			for _, c := range open {
				c.SettleAll()
			}
		}
		cfg := w.config("events")
		a := w.run(cfg, ra)
		ra.await(t, "all messages", func() bool { return ra.count() == 20 })
		rb := newRecorder()
		b := w.run(cfg, rb)
		rb.await(t, "half of the partitions", func() bool { return len(assigned(rb)) == 1 })
		time.Sleep(5 * time.Second)
		if n := rb.count(); n != 0 {
			t.Errorf("%d messages came again although their settlement was committed", n)
		}
		a.mustStop(t)
		b.mustStop(t)
	}, kfake.SeedTopics(2, "events"))
}

// TestADrainThatTakesTooLongIsCut: the handler's context ends before the group gives up on the member.
func TestADrainThatTakesTooLongIsCut(t *testing.T) {
	inWorld(t, func(w *world) {
		ra := newRecorder()
		took := make(chan time.Duration, 1)
		ra.onDrain = func(g *Generation, cause error, ctx context.Context) {
			if !errors.Is(cause, ErrGenerationEnded) {
				return
			}
			began := time.Now()
			<-ctx.Done()
			if !g.Alive() {
				t.Error("the membership was lost when the drain ended")
			}
			select {
			case took <- time.Since(began):
			default:
			}
		}
		cfg := w.config("events")
		cfg.SessionTimeout, cfg.RebalanceTimeout = 10*time.Second, 20*time.Second
		a := w.run(cfg, ra)
		ra.await(t, "a generation", func() bool { return a.Status().Ready })
		b := w.run(cfg, newRecorder())
		if d := <-took; d != 10*time.Second-2500*time.Millisecond-time.Second {
			t.Errorf("the drain was cut after %v, want 6.5s", d)
		}
		b.mustStop(t)
		a.mustStop(t)
	}, kfake.SeedTopics(2, "events"))
}

// TestAZombieIsNotAlive: when the coordinator does not answer any more, the member may not act beyond
// the session time-out after the last heartbeat that was accepted.
func TestAZombieIsNotAlive(t *testing.T) {
	inWorld(t, func(w *world) {
		r := newRecorder()
		cfg := w.config("events")
		c := w.run(cfg, r)
		r.await(t, "a generation", func() bool { return c.Status().Ready })
		g := r.generation()
		time.Sleep(30 * time.Second)
		if !g.Alive() {
			t.Error("not alive although heartbeats are accepted")
		}
		for _, key := range []int16{12, 8, 10, 11} { // Heartbeat, OffsetCommit, FindCoordinator, JoinGroup
			w.cluster.ControlKey(key, func(kmsg.Request) (kmsg.Response, error, bool) {
				w.cluster.KeepControl()
				return nil, errors.New("cut"), true
			})
		}
		cut := time.Now()
		for g.Alive() {
			time.Sleep(10 * time.Millisecond)
		}
		if d := time.Since(cut); d > 15*time.Second+20*time.Millisecond {
			t.Errorf("alive for %v after the coordinator was gone", d)
		}
		c.mustStop(t)
	}, kfake.SeedTopics(1, "events"))
}

// TestTheLeaseEndsWithTheGroupsPatience: heartbeats are still accepted while the group rebalances, but it
// waits for this member no longer than the rebalance time-out.
func TestTheLeaseEndsWithTheGroupsPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Config{Brokers: []string{"localhost:1"}, Group: "g", Topics: []string{"t"}}, newRecorder(), nil)
		if err != nil {
			t.Fatal(err)
		}
		g := c.newGeneration(&kafka.Generation{}, &layout{})
		defer g.cancelDrain()
		if g.Alive() {
			t.Error("alive before the first heartbeat")
		}
		began := time.Now()
		g.accepted(began)
		if until := g.ValidUntil(); !until.Equal(began.Add(15 * time.Second)) {
			t.Errorf("valid for %v, want 15s", until.Sub(began))
		}
		g.heartbeatCode(kafka.RebalanceInProgress, began)
		time.Sleep(20 * time.Second)
		g.heartbeatCode(kafka.RebalanceInProgress, time.Now())
		if until := g.ValidUntil(); !until.Equal(began.Add(27 * time.Second)) {
			t.Errorf("valid for %v, want 27s", until.Sub(began))
		}
		g.heartbeatCode(kafka.UnknownMemberId, time.Now())
		g.accepted(time.Now())
		if g.Alive() {
			t.Error("alive although the group does not know the member")
		}
		if g.drainCtx.Err() == nil {
			t.Error("draining goes on although the membership is lost")
		}
	})
}

// TestCommitsOfAnEndedGenerationAreRefusedAndEndIt: the group went on without this member.
func TestCommitsOfAnEndedGenerationAreRefusedAndEndIt(t *testing.T) {
	inWorld(t, func(w *world) {
		r := newRecorder()
		c := w.run(w.config("events"), r)
		r.await(t, "a generation", func() bool { return c.Status().Ready })
		g := r.generation()
		refused := false
		w.cluster.ControlKey(8, func(req kmsg.Request) (kmsg.Response, error, bool) {
			if refused {
				return nil, nil, false
			}
			refused = true
			in := req.(*kmsg.OffsetCommitRequest)
			out := in.ResponseKind().(*kmsg.OffsetCommitResponse)
			for _, topic := range in.Topics {
				rt := kmsg.NewOffsetCommitResponseTopic()
				rt.Topic = topic.Topic
				for _, p := range topic.Partitions {
					rp := kmsg.NewOffsetCommitResponseTopicPartition()
					rp.Partition, rp.ErrorCode = p.Partition, 22
					rt.Partitions = append(rt.Partitions, rp)
				}
				out.Topics = append(out.Topics, rt)
			}
			return out, nil, true
		})
		w.produce("events", 0, numbered("a", 3)...)
		r.await(t, "another generation", func() bool { return r.generation() != g && c.Status().Ready })
		if g.Alive() {
			t.Error("the refused generation is alive")
		}
		r.await(t, "the commit", func() bool { return w.committed("events", 0) == 3 })
		c.mustStop(t)
	}, kfake.SeedTopics(1, "events"))
}

// TestMetadataIsCommittedWhenItChangesAndTheNextOwnerReadsIt, although the frontier stands still; where
// the broker refuses it, the offset is committed without.
func TestMetadataIsCommittedWhenItChangesAndTheNextOwnerReadsIt(t *testing.T) {
	inWorld(t, func(w *world) {
		w.produce("events", 0, numbered("a", 5)...)
		var text atomic.Pointer[string]
		set := func(s string) { text.Store(&s) }
		set("")
		cfg := w.config("events")
		cfg.Metadata = func(*Partition, int64) (string, bool) { return *text.Load(), true }
		r := newRecorder()
		r.policy = func(c *Chunk, i int) {
			if c.Records[i].Offset < 2 {
				c.Settle(i)
			}
		}
		metadata := func() string { return w.cluster.GroupInfo("g").Commits["events"][0].Metadata }
		c := w.run(cfg, r)
		r.await(t, "the commit", func() bool { return w.committed("events", 0) == 2 })
		set("3 and 4")
		r.await(t, "the metadata", func() bool { return metadata() == "3 and 4" })
		time.Sleep(time.Second) // the worker has counted it
		commits := c.Stats().Commits
		time.Sleep(time.Minute)
		if n := c.Stats().Commits - commits; n != 0 {
			t.Errorf("%d commits although nothing changed", n)
		}
		c.mustStop(t)

		r = newRecorder()
		w.cluster.ControlKey(8, func(req kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			in := req.(*kmsg.OffsetCommitRequest)
			if m := in.Topics[0].Partitions[0].Metadata; m == nil || *m == "" {
				return nil, nil, false
			}
			out := in.ResponseKind().(*kmsg.OffsetCommitResponse)
			rt := kmsg.NewOffsetCommitResponseTopic()
			rt.Topic = "events"
			rp := kmsg.NewOffsetCommitResponseTopicPartition()
			rp.ErrorCode = 12
			rt.Partitions = append(rt.Partitions, rp)
			out.Topics = append(out.Topics, rt)
			return out, nil, true
		})
		set("too long")
		c = w.run(cfg, r)
		r.await(t, "the commit without it", func() bool { return w.committed("events", 0) == 5 })
		if got := r.generation().Tasks[0].Partitions[0].CommitMetadata(); got != "3 and 4" {
			t.Errorf("the next owner reads %q", got)
		}
		if n := c.said("refuses the metadata"); n != 1 {
			t.Errorf("said %d times", n)
		}
		c.mustStop(t)
	}, kfake.SeedTopics(1, "events"))
}

// TestARewindReadsAgainAndNeverCommitsBackwards: what lies before the start comes once more, and the
// group's offset stays until the frontier is beyond it.
func TestARewindReadsAgainAndNeverCommitsBackwards(t *testing.T) {
	inWorld(t, func(w *world) {
		w.produce("events", 0, numbered("a", 5)...)
		cfg := w.config("events")
		r := newRecorder()
		c := w.run(cfg, r)
		r.await(t, "the commit", func() bool { return w.committed("events", 0) == 5 })
		c.mustStop(t)
		w.produce("events", 0, "new")
		cfg.Rewind = func(task *Task, want func(*Partition, Rewind)) error {
			want(task.Partitions[0], Rewind{From: 2})
			return nil
		}
		r = newRecorder()
		hold := make(chan struct{})
		r.policy = func(c *Chunk, i int) {
			if c.Records[i].Offset == 3 {
				<-hold
			}
			c.Settle(i)
		}
		c = w.run(cfg, r)
		r.await(t, "the first message", func() bool { return r.count() > 0 })
		p := r.generation().Tasks[0].Partitions[0]
		if r.all()[0].offset != 2 || p.First() != 2 || p.Start() != 5 {
			t.Errorf("reading began at %d, First %d, Start %d", r.all()[0].offset, p.First(), p.Start())
		}
		time.Sleep(5 * time.Second)
		if got := w.committed("events", 0); got != 5 {
			t.Errorf("committed %d while what lies before the start is read again", got)
		}
		close(hold)
		r.await(t, "the commit", func() bool { return w.committed("events", 0) == 6 })
		c.mustStop(t)
	}, kfake.SeedTopics(1, "events"))
}

// TestStopLeavesTheGroup: nobody waits for the session time-out.
func TestStopLeavesTheGroup(t *testing.T) {
	inWorld(t, func(w *world) {
		r := newRecorder()
		c := w.run(w.config("events"), r)
		r.await(t, "a generation", func() bool { return c.Status().Ready })
		began := time.Now()
		c.mustStop(t)
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("stopping took %v", d)
		}
		if info := w.cluster.GroupInfo("g"); len(info.Members) != 0 {
			t.Errorf("members after the stop: %+v", info.Members)
		}
	}, kfake.SeedTopics(1, "events"))
}

// TestStopDuringARebalanceDrainLeavesTheGroup: the library already waits to join again.
func TestStopDuringARebalanceDrainLeavesTheGroup(t *testing.T) {
	inWorld(t, func(w *world) {
		ra := newRecorder()
		draining := make(chan struct{}, 1)
		ra.onDrain = func(g *Generation, cause error, ctx context.Context) {
			select {
			case draining <- struct{}{}:
			default:
			}
			time.Sleep(5 * time.Second)
		}
		a := w.run(w.config("events"), ra)
		ra.await(t, "a generation", func() bool { return a.Status().Ready })
		rb := newRecorder()
		b := w.run(w.config("events"), rb)
		<-draining
		a.mustStop(t)
		stopped := time.Now()
		rb.await(t, "all tasks", func() bool { return len(assigned(rb)) == 2 && b.Status().Ready })
		if d := time.Since(stopped); d > 5*time.Second {
			t.Errorf("the group waited %v for the member that had stopped", d)
		}
		if n := b.Stats().Generations; n != 1 {
			t.Errorf("%d generations, want 1: the member that stopped joined once more", n)
		}
		if info := w.cluster.GroupInfo("g"); len(info.Members) != 1 {
			t.Errorf("%d members, want 1", len(info.Members))
		}
		b.mustStop(t)
	}, kfake.SeedTopics(2, "events"))
}

func TestATopicThatAppearsLaterIsReadFromItsBeginning(t *testing.T) {
	inWorld(t, func(w *world) {
		cfg := w.config("events")
		cfg.ReplayTopic = "replay"
		cfg.StartOffset = Latest
		w.produce("events", 0, "before")
		r := newRecorder()
		c := w.run(cfg, r)
		r.await(t, "a generation", func() bool { return c.Status().Ready })
		if got := c.Status().MissingTopics; !slices.Equal(got, []string{"replay"}) {
			t.Errorf("missing topics %v", got)
		}
		if err := w.cluster.CreateTopic("replay", 2, nil); err != nil {
			t.Fatal(err)
		}
		w.produce("replay", 1, "replayed")
		r.await(t, "the message", func() bool { return r.count() == 1 })
		if got := r.all()[0]; got.value != "replayed" {
			t.Errorf("got %+v", got)
		}
		time.Sleep(5 * time.Minute)
		if n := c.Stats().Generations; n != 2 {
			t.Errorf("%d generations, want 2: one per change", n)
		}
		if n := c.said("does not exist"); n != 1 {
			t.Errorf("said %d times that a topic is missing", n)
		}
		c.mustStop(t)
	}, kfake.SeedTopics(2, "events"))
}

func TestNoTopicIsCreated(t *testing.T) {
	inWorld(t, func(w *world) {
		c := w.run(w.config("events"), newRecorder())
		time.Sleep(time.Minute)
		if w.cluster.TopicInfo("events") != nil {
			t.Error("the topic was created")
		}
		if s := c.Status(); s.State != StateNoTopics || s.Ready {
			t.Errorf("status %+v", s)
		}
		c.mustStop(t)
	}, kfake.AllowAutoTopicCreation())
}

func TestMorePartitionsEndTheGenerationOnceAndAreReadFromTheirBeginning(t *testing.T) {
	inWorld(t, func(w *world) {
		cfg := w.config("events")
		cfg.StartOffset = Latest
		ra, rb := newRecorder(), newRecorder()
		a, b := w.run(cfg, ra), w.run(cfg, rb)
		ra.await(t, "two members", func() bool { return len(assigned(ra)) == 1 && len(assigned(rb)) == 1 })
		before := a.Stats().Generations
		cl := w.client()
		req := kmsg.NewCreatePartitionsRequest()
		rt := kmsg.NewCreatePartitionsRequestTopic()
		rt.Topic, rt.Count = "events", 4
		req.Topics = append(req.Topics, rt)
		req.TimeoutMillis = 1000
		if _, err := req.RequestWith(context.Background(), cl); err != nil {
			t.Fatal(err)
		}
		cl.Close()
		w.produce("events", 3, "new")
		ra.await(t, "four tasks", func() bool { return len(assigned(ra)) == 2 && len(assigned(rb)) == 2 })
		ra.await(t, "the message", func() bool { return ra.count()+rb.count() == 1 })
		time.Sleep(5 * time.Minute)
		if n := a.Stats().Generations - before; n != 1 {
			t.Errorf("%d generations followed, want 1", n)
		}
		a.mustStop(t)
		b.mustStop(t)
	}, kfake.SeedTopics(2, "events"))
}

func TestUnequalPartitionCountsAreAnErrorByName(t *testing.T) {
	opts := []kfake.Opt{kfake.SeedTopics(2, "clicks"), kfake.SeedTopics(3, "shown")}
	inWorld(t, func(w *world) {
		c := w.run(w.config("clicks", "shown"), newRecorder())
		<-c.done
		err := c.stop()
		var counts *PartitionCountError
		if !errors.As(err, &counts) || counts.Counts["clicks"] != 2 || counts.Counts["shown"] != 3 {
			t.Errorf("Run: %v", err)
		}
	}, opts...)
	inWorld(t, func(w *world) {
		cfg := w.config("clicks", "shown")
		cfg.Copartitioned = false
		r := newRecorder()
		c := w.run(cfg, r)
		r.await(t, "three tasks", func() bool { return len(assigned(r)) == 3 })
		c.mustStop(t)
	}, opts...)
}

// TestLatestIsOneMomentForTheWholeGroup: it is committed at once, for all partitions, whoever of
// several workers comes first, and a restart does not move it.
func TestLatestIsOneMomentForTheWholeGroup(t *testing.T) {
	inWorld(t, func(w *world) {
		for p := range int32(4) {
			w.produce("events", p, numbered("old", 5)...)
		}
		cfg := w.config("events")
		cfg.StartOffset = Latest
		var rs []*recorder
		var cs []*running
		for range 3 {
			r := newRecorder()
			rs, cs = append(rs, r), append(cs, w.run(cfg, r))
		}
		rs[0].await(t, "three members", func() bool {
			n := 0
			for i, r := range rs {
				if !cs[i].Status().Ready {
					return false
				}
				n += len(assigned(r))
			}
			return n == 4
		})
		for p := range int32(4) {
			if got := w.committed("events", p); got != 5 {
				t.Errorf("committed %d of partition %d, want 5", got, p)
			}
		}
		for _, c := range cs {
			c.mustStop(t)
		}
		for p := range int32(4) {
			w.produce("events", p, "new")
		}
		r := newRecorder()
		c := w.run(cfg, r)
		r.await(t, "the new messages", func() bool { return r.count() == 4 })
		c.mustStop(t)
		for _, s := range r.all() {
			if s.value != "new" {
				t.Errorf("got %+v", s)
			}
		}
	}, kfake.SeedTopics(4, "events"))
}

// TestRandomMembershipLosesNothing: members come and go at random while messages arrive; in the end
// everything was settled by someone and is committed.
func TestRandomMembershipLosesNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		const partitions, perRound, rounds = 6, 30, 8
		cl := w.client(kgo.MaxBufferedRecords(1000))
		defer cl.Close()
		var mu sync.Mutex
		settled := map[string]bool{}
		start := func() *running {
			r := newRecorder()
			r.policy = func(c *Chunk, i int) {
				rec := &c.Records[i]
				mu.Lock()
				settled[fmt.Sprintf("%d/%d", c.Partition.ID, rec.Offset)] = true
				mu.Unlock()
				c.Settle(i)
			}
			return w.run(w.config("events"), r)
		}
		members := []*running{start()}
		for round := range rounds {
			for p := range int32(partitions) {
				for range perRound {
					cl.Produce(context.Background(), &kgo.Record{Topic: "events", Partition: p, Value: []byte("v")}, nil)
				}
			}
			if err := cl.Flush(context.Background()); err != nil {
				t.Fatal(err)
			}
			if round%3 == 2 {
				members[0].mustStop(t)
				members = members[1:]
			} else {
				members = append(members, start())
			}
			time.Sleep(time.Duration(round) * 700 * time.Millisecond)
		}
		members[0].await(t, "everything is committed", func() bool {
			for p := range int32(partitions) {
				if w.committed("events", p) != perRound*rounds {
					return false
				}
			}
			return true
		})
		for _, m := range members {
			m.mustStop(t)
		}
		if len(settled) != partitions*perRound*rounds {
			t.Errorf("%d messages were settled, want %d", len(settled), partitions*perRound*rounds)
		}
	}, kfake.SeedTopics(6, "events"))
}
