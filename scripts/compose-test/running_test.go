//go:build linux

package main

import (
	"net"
	"net/http"
	"testing"
)

func TestADaemonThatRunsIsSeen(t *testing.T) {
	dir := t.TempDir()
	for name, header := range map[string]string{"docker": "Api-Version", "another": "Server"} {
		l, err := net.Listen("unix", dir+"/"+name)
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set(header, "1.41") })}
		t.Cleanup(func() { s.Close() })
		go func() { _ = s.Serve(l) }()
	}
	here := "unix://" + dir + "/"
	if got := runningDaemon(t.Context(), "", "tcp://127.0.0.1:1", here+"nothing", here+"another", here+"docker"); got != here+"docker" {
		t.Errorf("got %q", got)
	}
	if got := runningDaemon(t.Context(), "", here+"another", here+"nothing"); got != "" {
		t.Errorf("%q is taken for a daemon", got)
	}
}
