package worker

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"eventworker/internal/config"
	"eventworker/internal/querystore"
)

// Offline is the disk store of a worker that does not run.
type Offline struct {
	w     *Worker // never run: what its methods need
	store *querystore.LogStore
	tasks []int32
}

// OpenOffline takes the store's folder. A process that has it is named in the error, a
// [querystore.LockedError].
func OpenOffline(cfg *config.Config) (*Offline, error) {
	if cfg.Store.Kind != "disk" {
		return nil, fmt.Errorf("store.kind is %s: only the disk store can be read without a worker", cfg.Store.Kind)
	}
	entries, err := os.ReadDir(cfg.Store.Path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no store in %s (store.path)", cfg.Store.Path)
	}
	if err != nil {
		return nil, err
	}
	o := &Offline{w: &Worker{cfg: cfg, rules: JoinConfig(cfg), log: zap.NewNop()}}
	for _, e := range entries {
		if number, ok := strings.CutPrefix(e.Name(), "task-"); ok && e.IsDir() {
			if n, err := strconv.ParseInt(number, 10, 32); err == nil {
				o.tasks = append(o.tasks, int32(n))
			}
		}
	}
	if err := o.w.forgotten.open(cfg.Store.Path, o.w.memory()+keptForgotten, time.Now()); err != nil {
		return nil, err
	}
	o.store, err = querystore.OpenDisk(querystore.Options{Path: cfg.Store.Path, Memory: int64(cfg.Store.Memory), Log: zap.NewNop()})
	if err != nil {
		return nil, err
	}
	return o, nil
}

// Close gives the folder back.
func (o *Offline) Close() error { return o.store.Close() }

// each opens one section after the other.
func (o *Offline) each(do func(task int32, section querystore.Section) error) error {
	for _, task := range o.tasks {
		section, err := o.store.Open(task)
		if err != nil {
			return fmt.Errorf("task %d: %w", task, err)
		}
		if err := errors.Join(do(task, section), section.Close()); err != nil {
			return err
		}
	}
	return nil
}

// StoreUser says what the folder holds of a user: of the task that holds something, the last one that was
// looked at if none does.
func (o *Offline) StoreUser(q UserQuery) (found *UserHistory, err error) {
	if q.Application == "" {
		q.Application = config.DefaultApplication
	}
	err = o.each(func(task int32, section querystore.Section) error {
		reader := storeReader{rules: o.w.rules, topics: o.w.inputTopics(), section: &effects{Section: section, veil: &o.w.forgotten}, query: q, now: time.Now()}
		h, err := reader.read()
		if err != nil {
			return err
		}
		h.Task, h.Complete = task, true
		if found == nil || len(h.Impressions)+len(h.Clicks) > len(found.Impressions)+len(found.Clicks) {
			found = h
		}
		return nil
	})
	if err == nil && found == nil {
		err = fmt.Errorf("the store in %s has no task yet", o.w.cfg.Store.Path)
	}
	return found, err
}

// Forget removes a user's effects from the folder, and keeps them from coming back.
func (o *Offline) Forget(order ForgetOrder) (*ForgetReport, error) {
	token, err := sentToken(o.w.rules, order.UserToken)
	if err != nil {
		return nil, err
	}
	report := &ForgetReport{Schema: "eventworker.forget/v1", At: time.Now().UTC().Truncate(time.Millisecond), Owner: true, Settled: true,
		Notes:   []string{"no worker runs on this folder: what the topics hold of the user stays there for as long as their retention.ms says"},
		Remains: []Remains{{Place: "store: bytes that nothing reads any more", Seconds: int64(2 * o.w.memory() / time.Second)}}}
	if err := o.w.forgotten.add(report.At, order.UserToken, token); err != nil {
		return nil, err
	}
	report.Remembered = true
	err = o.each(func(task int32, section querystore.Section) error {
		for i := range o.w.rules.Applications {
			impressions, clicks, err := forgetUser(section, []byte(o.w.rules.Applications[i].Name+"\x00"+token))
			if err != nil {
				return err
			}
			if impressions+clicks > 0 {
				report.Task = task
			}
			report.Impressions += impressions
			report.Clicks += clicks
		}
		return nil
	})
	return report, err
}
