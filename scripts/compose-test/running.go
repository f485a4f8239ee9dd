//go:build linux

package main

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"
)

// runningDaemon gives the first of the addresses at which a Docker daemon of this machine answers; empty:
// none does. One at another machine is none of ours to disturb.
func runningDaemon(ctx context.Context, addresses ...string) string {
	for _, address := range addresses {
		if path, local := strings.CutPrefix(address, "unix://"); local && answers(ctx, path) {
			return address
		}
	}
	return ""
}

// answers says whether a daemon listens at a socket.
func answers(ctx context.Context, socket string) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/_ping", http.NoBody)
	if err != nil {
		return false
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.Header.Get("Api-Version") != ""
}
