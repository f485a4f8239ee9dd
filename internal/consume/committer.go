package consume

import (
	"context"
	"time"

	"github.com/segmentio/kafka-go"
	"go.uber.org/zap"
)

// commitLoop commits every CommitInterval until ctx is done.
func (g *Generation) commitLoop(ctx context.Context) {
	ticker := time.NewTicker(g.c.cfg.CommitInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_, _ = g.commit(ctx) // reported, and tried again with the next tick
			g.c.checkCaughtUp(g)
		}
	}
}

// lastCommit commits what is settled after Serve returned. It tries for a few seconds, and no longer
// than the membership lasts.
func (g *Generation) lastCommit() {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	if g.isStale() {
		g.log.Warn("the group went on without this member before it had drained; what it settled since its last commit is read again")
	}
	for !g.isStale() {
		pending, err := g.commit(ctx)
		if !pending {
			break
		}
		if err != nil && g.isStale() || !sleep(ctx, 50*time.Millisecond) {
			g.log.Warn("the last commit of a generation failed; what it would have covered is read again", zap.Error(err))
			break
		}
	}
	g.c.checkCaughtUp(g)
}

// commit reads the frontiers, makes the store durable, and commits in one request what moved. It says
// whether something is left to commit.
func (g *Generation) commit(ctx context.Context) (pending bool, err error) {
	if g.isStale() {
		return false, nil
	}
	commits := map[topicPartition]commit{}
	moved := map[topicPartition]*Partition{}
	for _, p := range g.partitions {
		if cm, changed := p.toCommit(g.c.cfg.Metadata); changed {
			tp := topicPartition{p.Topic, p.ID}
			commits[tp], moved[tp] = cm, p
		}
	}
	if len(commits) == 0 {
		return false, nil
	}
	if began := time.Now(); g.c.cfg.Committed != nil {
		defer func() { g.c.cfg.Committed(time.Since(began), commitResult(g.isStale(), pending, err)) }()
	}
	if err := g.c.handler.Sync(ctx); err != nil {
		if ctx.Err() == nil {
			g.c.condition.report("store sync", err)
		}
		return true, err
	}
	g.c.condition.report("store sync", nil)
	sent := time.Now()
	codes, err := g.c.commitAll(ctx, g.ID, g.Member, commits)
	if err != nil {
		if ctx.Err() == nil {
			g.c.counters.commitErrors.Add(1)
			g.c.condition.report("commit", err)
		}
		return true, err
	}
	return g.committed(sent, codes, commits, moved)
}

// toCommit is what to commit for a partition now, and whether it differs from what was. What lies before
// the start is never committed: it is read once more for its effects only.
func (p *Partition) toCommit(metadata func(*Partition, int64) (string, bool)) (cm commit, changed bool) {
	cm.offset = p.tracker.sweep()
	committed := p.committed.Load()
	if cm.offset < max(p.start, committed) {
		return cm, false
	}
	if metadata != nil && !p.mute {
		var ok bool
		if cm.metadata, ok = metadata(p, cm.offset); !ok {
			return cm, false
		}
	}
	moved := cm.offset > committed && cm.offset > p.start
	return cm, moved || cm.metadata != p.said && metadata != nil && !p.mute
}

// The results of commits, as [Config.Committed] is told.
const (
	CommitOK     = "ok"
	CommitFailed = "failed" // some partitions, or all; they are committed again
	CommitFenced = "fenced" // the group went on without this member
)

func commitResult(stale, pending bool, err error) string {
	switch {
	case stale:
		return CommitFenced
	case err != nil || pending:
		return CommitFailed
	}
	return CommitOK
}

// committed looks at each partition's answer.
func (g *Generation) committed(sent time.Time, codes map[topicPartition]kafka.Error, commits map[topicPartition]commit, moved map[topicPartition]*Partition) (pending bool, err error) {
	for tp, code := range codes {
		p := moved[tp]
		if p == nil {
			continue
		}
		switch code {
		case 0:
			g.accepted(sent)
			p.committed.Store(commits[tp].offset)
			p.said = commits[tp].metadata
			delete(moved, tp)
			continue
		case kafka.OffsetMetadataTooLarge:
			// The broker's limit is lower than ours: the offset matters more.
			p.mute = true
			g.log.Warn("the broker refuses the metadata of commits as too large; offsets are committed without it, and a restart repeats more: raise offset.metadata.max.bytes",
				zap.String("topic", tp.topic), zap.Int32("partition", tp.partition), zap.Int("bytes", len(commits[tp].metadata)))
			continue
		case kafka.IllegalGeneration, kafka.UnknownMemberId, kafka.FencedInstanceID:
			g.log.Warn("a commit was refused because the group went on without this member; what it would have covered is read again", zap.Error(code))
			g.stale()
			return false, code
		case kafka.RebalanceInProgress:
			g.rebalance()
		}
		err = denied(code, "topic "+tp.topic, "Read")
	}
	if err != nil {
		g.c.counters.commitErrors.Add(1)
	} else {
		g.c.counters.commits.Add(1)
	}
	g.c.condition.report("commit", err)
	return len(moved) > 0, err
}
