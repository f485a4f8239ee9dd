package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"eventworker/internal/dlq"
)

// dlqRelease opens the letters again that a plan claimed and did not write.
func (a *app) dlqRelease(cmd *cobra.Command, r *replay) error {
	ctx := cmd.Context()
	if r.out.format != "table" {
		return usagef(cmd.CommandPath()+" --help", "--release has no other output than its line")
	}
	if err := r.check(a, cmd); err != nil {
		return err
	}
	d, err := a.desk(ctx, &deskFlags{})
	if err != nil {
		return err
	}
	defer d.Close()
	if err := r.ask.auditApart(cmd, d); err != nil {
		return err
	}
	plan, err := a.readPlan(ctx, d, r.release)
	if err != nil {
		return a.kafkaError(callError(err))
	}
	count, err := d.Release(ctx, plan, dlq.ReleaseOptions{DryRun: true})
	switch {
	case err != nil:
		return a.kafkaError(callError(err))
	case count == 0:
		fmt.Fprintf(a.err, "plan %s has no letter that it claimed and did not write\n", plan.ID)
		return nil
	case r.dryRun:
		fmt.Fprintf(a.err, "dry run: %s letters of plan %s would be released\nTry: %s\n", dlq.Thousands(count), plan.ID, a.again(cmd, "dry-run"))
		return nil
	case !r.ask.yes && !a.confirm(cmd, fmt.Sprintf("Release %s letters of plan %s?", dlq.Thousands(count), plan.ID)):
		return failf("", "nothing was written")
	}
	a.acts = true
	audit, err := a.openAudit(ctx, d, r.ask.auditTopic, false)
	if err != nil {
		return err
	}
	done, err := d.Release(ctx, plan, dlq.ReleaseOptions{By: who(), Clock: clock})
	unaudited := audit(dlq.Audit{By: who(), Action: "dlq.release", Plan: plan.ID, Filter: plan.Filter, Topic: plan.Topic, Target: plan.Target,
		Count: done, Note: r.ask.note, Result: resultOf(ctx, err)})
	fmt.Fprintf(a.err, "released %s letters of plan %s: a new plan takes them\n", dlq.Thousands(done), plan.ID)
	return errors.Join(a.releaseError(cmd, err), unaudited)
}

// releaseError says how to go on where a call may still be at work.
func (a *app) releaseError(cmd *cobra.Command, err error) error {
	if errors.As(err, new(*dlq.BusyError)) || errors.As(err, new(*dlq.TwinError)) {
		return withCode(exitGuard, a.again(cmd), err)
	}
	return a.kafkaError(callError(err))
}

// stale is the refusal of a stale plan, with the letters that only a release opens again.
func (a *app) stale(ctx context.Context, r *replay, d *openDesk, plan *dlq.Plan, stale error) error {
	looking, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if n, err := d.Release(looking, plan, dlq.ReleaseOptions{DryRun: true}); err == nil && n > 0 {
		return usagef(a.next("replay", "--release", r.plan), "%w; %s letters that it claimed and did not write wait until they are released", stale, dlq.Thousands(n))
	}
	return usagef(a.anew(plan), "%w", stale)
}
