package insights

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestAnotherRateHoldsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigConfig{app: func(c *ApplicationConfig) { c.MaxEventsPerSecond = 1 }}, ok)
		r.submit(200)
		r.submit(50)
		pass(sec)
		wantTimes(t, r.api.times(), 0) // the second waits for 200 s
		r.app.Tune(Tuning{MaxInFlight: 32, MaxEventsPerSecond: 100})
		r.submit(50)
		pass(time.Minute)
		wantTimes(t, r.api.times(), 0, sec, 1500*ms)
	})
}

func TestAnotherTimeoutAndBoundHoldForTheNextRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app, err := NewApplication(ApplicationConfig{
			Name: "default", AppID: "APPID12345", APIKey: testKey, Region: "us", MaxInFlight: 8,
			Transport: newScript(t, func(call) reply { return reply{status: 200, after: 50 * ms} }),
		})
		if err != nil {
			t.Fatal(err)
		}
		r := newRigOf(t, app)
		busy := func() {
			for range 100 {
				r.submit(1)
			}
			pass(10 * sec)
		}
		busy()
		app.Tune(Tuning{MaxInFlight: 3})
		if n := app.Status().Limit; n != 3 {
			t.Errorf("the limit is %d after it was bounded by 3", n)
		}
		busy()
		app.Tune(Tuning{MaxInFlight: 6, Timeout: 20 * ms})
		if got := time.Duration(app.client.timeout.Load()); got != 20*ms {
			t.Errorf("the time-out is %v", got)
		}
		r.submit(1)
		pass(10 * sec)
		if s := app.Status(); s.State == StateOK {
			t.Errorf("answers take longer than the new time-out, and the state is %s", s.State)
		}
		app.Tune(Tuning{MaxInFlight: 6})
		pass(time.Minute)
		busy()
		if n := app.Status().Limit; n > 6 || n < 3 {
			t.Errorf("the limit is %d, bounded by 6", n)
		}
		wantKinds(t, r, map[OutcomeKind]int{Delivered: 301})
	})
}
