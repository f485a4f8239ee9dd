package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"

	"eventworker/internal/telemetry"
	"eventworker/internal/worker"
)

// TestCommandsWithoutTheTokenSayWhereItBelongs against the admin server itself: it is no guard, and to call
// again does not help.
func TestCommandsWithoutTheTokenSayWhereItBelongs(t *testing.T) {
	for listen, status := range map[string]int{"127.0.0.1:0": http.StatusUnauthorized, "0.0.0.0:0": http.StatusForbidden} {
		token := "t0ken"
		if status == http.StatusForbidden {
			token = ""
		}
		admin, err := telemetry.NewAdmin(telemetry.AdminOptions{Listen: listen, Gather: telemetry.NewMetrics().Registry, Health: telemetry.NewHealth(), Log: zap.NewNop(), Token: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{worker.SkipPath, worker.StoreUserPath, worker.ForgetPath} {
			admin.HandleAction(telemetry.Action{Method: http.MethodPost, Path: path}, http.NotFoundHandler())
		}
		server := httptest.NewServer(admin.Handler())
		address := strings.TrimPrefix(server.URL, "http://")
		for _, args := range [][]string{
			{"group", "skip", "--admin", address, "--partition", "3", "--offset", "12"},
			{"store", "user", "user-1234", "--admin", address},
			{"forget", "user-1234", "--confirm", "user-1234", "--admin", address},
		} {
			r := call(t, []string{"EVENTWORKER_ADMIN__TOKEN=wr0ng"}, args...)
			if r.code != exitFailed || !strings.Contains(r.err, address+" refuses the call") || !strings.Contains(r.err, "admin.token") || !strings.Contains(r.err, "Try: the same command with --set admin.token_file=FILE\n") {
				t.Errorf("%d %v: %d %s", status, args[:2], r.code, r.err)
			}
			if strings.Contains(r.err, "again") || strings.Contains(r.err, "wr0ng") {
				t.Errorf("%d %v: it says to call again, or shows the token:\n%s", status, args[:2], r.err)
			}
			if args[0] == "forget" && !strings.Contains(r.err, `"by":"`+who()+`"`) {
				t.Errorf("the audit line does not say who: %s", r.err)
			}
		}
		server.Close()
		admin.Close()
	}
}
