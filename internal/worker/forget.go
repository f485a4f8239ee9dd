package worker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"eventworker/internal/querystore"
	"eventworker/internal/telemetry"
)

// ForgetPath is where the admin server takes the order to forget a user.
const ForgetPath = "/forget"

// ForgetOrder names the user, in all applications. The token stands in the body of a request.
type ForgetOrder struct {
	UserToken string `json:"userToken"`
}

// ForgetReport says what forgetting did, and what it could not. It holds no token.
type ForgetReport struct {
	Schema string    `json:"schema"` // eventworker.forget/v1
	At     time.Time `json:"at"`
	// Remembered: what the user did before At does not count any more in this worker, also when its
	// history is read again from Kafka.
	Remembered bool `json:"remembered"`
	// Shared: the other workers of the group learn it, at the latest before they take the partition.
	Shared bool `json:"shared"`
	// Owner: this worker has the partition of the user. Only the owner removes and waits.
	Owner bool  `json:"owner"`
	Task  int32 `json:"task"`
	// Impressions and Clicks were removed from the store.
	Impressions int `json:"impressions"`
	Clicks      int `json:"clicks"`
	// Settled: all that was read of the user's partitions before At has its outcome. Where it is false
	// an event of the user may still be on its way: have the API delete it once it is true.
	Settled bool `json:"settled"`
	// Remains says what lies outside the worker, and for how long.
	Remains []Remains `json:"remains"`
	Notes   []string  `json:"notes"`
}

// Remains is a place that still holds messages of the user.
type Remains struct {
	Place string `json:"place"` // topic NAME, store
	// Seconds is for how long at most; -1: for ever, or until compaction.
	Seconds int64  `json:"seconds"`
	Policy  string `json:"policy,omitempty"`
}

// forgetWait bounds how long forgetting waits for what is on its way.
const forgetWait = 20 * time.Second

// Forget removes a user's effects, and lets nothing that the user did before now count any more.
func (w *Worker) Forget(ctx context.Context, order ForgetOrder) (*ForgetReport, error) {
	token, err := sentToken(w.rules, order.UserToken)
	if err != nil {
		return nil, err
	}
	report := &ForgetReport{Schema: "eventworker.forget/v1", At: time.Now().UTC().Truncate(time.Millisecond), Remains: []Remains{}, Notes: []string{}}
	here := w.forgotten.add(report.At, order.UserToken, token)
	unwritten := errors.As(here, new(*unwrittenError))
	if here != nil && !unwritten {
		return nil, here
	}
	report.Remembered = true
	if err := w.shareForgotten(ctx, report.At, order.UserToken, token); unwritten && err != nil {
		return nil, fmt.Errorf("the user is forgotten until this worker ends only: %w", errors.Join(here, err))
	} else if err != nil {
		report.Notes = append(report.Notes, "the other workers do not learn it by themselves: name them, too (kafka.create_topics makes the state topic): "+err.Error())
	} else {
		report.Shared = true
	}
	r := w.runnerOf([]byte(order.UserToken))
	if r != nil {
		report.Owner, report.Task = true, r.source.Number
		if err := w.forgetIn(ctx, r, token, report); err != nil {
			return nil, fmt.Errorf("the user is forgotten from now on, but the history is not removed from the store yet; call again: %w", err)
		}
		report.Settled = r.awaitSettled(ctx)
	} else {
		report.Notes = append(report.Notes, ErrElsewhere.Error())
	}
	w.remains(ctx, report)
	w.log.Info("a user was forgotten", zap.Bool("owner", report.Owner), telemetry.Task(report.Task), zap.Int("impressions", report.Impressions), zap.Int("clicks", report.Clicks),
		zap.Bool("settled", report.Settled))
	return report, nil
}

// forgetIn removes what can be found in the task's section. What cannot be, such as clicks on objects of
// which no impression is left, is hidden, and leaves with its segment.
func (w *Worker) forgetIn(ctx context.Context, r *runner, token string, report *ForgetReport) error {
	var impressions, clicks int // none is looked at where the task has not answered: it may be about to
	var err error
	asked := r.ask(ctx, func() {
		for i := range w.rules.Applications {
			shown, clicked, ferr := forgetUser(r.section, []byte(w.rules.Applications[i].Name+"\x00"+token))
			impressions += shown
			clicks += clicked
			if ferr != nil {
				err = ferr
				return
			}
		}
	})
	if asked != nil {
		return asked
	}
	report.Impressions, report.Clicks = impressions, clicks
	if err != nil {
		return err
	}
	return r.section.Sync()
}

// forgetUser hides a user's impressions, and the clicks on their objects. It counts what there was.
func forgetUser(section querystore.Section, user []byte) (impressions, clicks int, err error) {
	forgetter, ok := section.(querystore.Forgetter)
	if !ok {
		return 0, 0, nil // the list hides it
	}
	if err := readAhead(section, user); err != nil {
		return 0, 0, err
	}
	objects := make(map[string]bool)
	err = section.Walk(user, func(r *querystore.Record) bool {
		if r.Kind != querystore.KindImpression {
			return true
		}
		impressions++
		for i := range r.Len() {
			objects[string(r.ObjectIDAt(i))] = true
		}
		return true
	})
	if err != nil {
		return 0, 0, err
	}
	var clicked [][]byte
	for object := range objects {
		key, before := querystore.AppendClickKey(nil, user, []byte(object)), clicks
		err := section.Walk(key, func(r *querystore.Record) bool {
			if r.Kind == querystore.KindClick {
				clicks++
			}
			return true
		})
		if err != nil {
			return 0, 0, err
		}
		if clicks > before {
			clicked = append(clicked, key)
		}
	}
	// The user's own key is forgotten also where no impression was found: in Redis its clicks and marks go with it.
	for _, key := range append(clicked, user) {
		if err := forgetter.Forget(key); err != nil {
			return impressions, clicks, err
		}
	}
	return impressions, clicks, nil
}

// readAhead reads what a store across a network holds of a user at once, not object by object.
func readAhead(section querystore.Section, user []byte) error {
	remote, ok := section.(querystore.Remote)
	if !ok {
		return nil
	}
	return remote.Prefetch([][]byte{user, querystore.AppendClickKey(nil, user, []byte("any"))})
}

// awaitSettled waits until what the task had read by now is settled.
func (r *runner) awaitSettled(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, forgetWait)
	defer cancel()
	targets := make([]int64, len(r.source.Partitions))
	for i, p := range r.source.Partitions {
		targets[i] = p.Fetched()
	}
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		open := false
		for i, p := range r.source.Partitions {
			open = open || p.Frontier() < targets[i]
		}
		if !open {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
		if r.g.ended() {
			return false
		}
	}
}

// remains says what Kafka and the disk still hold.
func (w *Worker) remains(ctx context.Context, report *ForgetReport) {
	k := &w.cfg.Kafka
	topics := append(w.inputTopics(), k.DeadLetterTopic)
	kept, err := w.kafka.Retentions(ctx, topics)
	if err != nil {
		report.Notes = append(report.Notes, err.Error())
	}
	for _, t := range kept {
		one := Remains{Place: "topic " + t.Topic, Seconds: -1, Policy: t.Policy}
		if t.For >= 0 && strings.Contains(t.Policy, "delete") {
			one.Seconds = int64(t.For / time.Second)
		}
		report.Remains = append(report.Remains, one)
	}
	if w.cfg.Store.Kind == "disk" {
		report.Remains = append(report.Remains, Remains{Place: "store: bytes that nothing reads any more", Seconds: int64(2 * w.memory() / time.Second)})
	}
	report.Notes = append(report.Notes,
		"marks of delivered ids hold a hash of the id, are not counted, and do not answer any more",
		"records whose key is not the userToken are not recognised before they are decoded: they are delivered as before")
}

// handleForget answers 200 with a ForgetReport, 400 for a wrong order, 503 while the task or its store does not answer.
func (w *Worker) handleForget(out http.ResponseWriter, r *http.Request) {
	var order ForgetOrder
	if err := readBody(r, &order); err != nil {
		answerError(out, http.StatusBadRequest, err)
		return
	}
	report, err := w.Forget(r.Context(), order)
	if err != nil {
		answerError(out, codeOf(err), err)
		return
	}
	answerJSON(out, http.StatusOK, report)
}
