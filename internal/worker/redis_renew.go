package worker

import (
	"context"
	"time"

	"eventworker/internal/querystore"
)

// renew tells a store across a network that the task is there and has nothing to do, and says when to do so again.
// A task that is behind does not: see querystore.Renewer. When it has caught up it is woken.
func (r *runner) renew(ctx context.Context) (again time.Duration, err error) {
	again = time.Hour
	section, ok := r.section.(querystore.Renewer)
	if !ok || !r.idle() {
		return again, nil
	}
	err = r.retry(ctx, func() (err error) {
		again, err = section.Renew()
		return err
	})
	return again, err
}

// idle says whether everything was read that there is, and nothing of it waits.
func (r *runner) idle() bool {
	for _, p := range r.source.Partitions {
		if !p.AtEnd() {
			return false
		}
	}
	return r.task.Waiting() == 0
}
