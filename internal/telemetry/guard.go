package telemetry

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"strings"
)

// SetToken replaces the token that protects actions; empty: none.
func (a *Admin) SetToken(token string) { a.token.Store(&token) }

// local says whether only this machine reaches the server.
func (a *Admin) local() bool {
	addr, ok := a.listener.Addr().(*net.TCPAddr)
	return ok && addr.IP.IsLoopback()
}

// HandleAction adds an endpoint that changes something, or shows what probes do not: a user's history.
// It answers
//
//   - with a token: to requests that carry it as "Authorization: Bearer TOKEN";
//   - without one: on the loopback address to whoever calls it by that address or as localhost, and
//     nowhere else.
//
// Requests from other sites' pages are refused in any case.
func (a *Admin) HandleAction(method, path, about string, h http.Handler) {
	a.mux.Handle(method+" "+path, http.NewCrossOriginProtection().Handler(a.guard(h)))
	a.endpoints = append(a.endpoints, endpoint{path, method + ": " + about})
}

func (a *Admin) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := *a.token.Load()
		switch {
		case token != "":
			if !sameToken(r.Header.Get("Authorization"), token) {
				w.Header().Set("WWW-Authenticate", `Bearer realm="eventworker"`)
				http.Error(w, "this endpoint wants the header Authorization: Bearer TOKEN, with the token of admin.token", http.StatusUnauthorized)
				return
			}
		case !a.local():
			http.Error(w, "this endpoint answers beyond this machine only where admin.token is set", http.StatusForbidden)
			return
		case !localHost(r.Host):
			// A page whose name was made to mean 127.0.0.1 would be of the same origin.
			http.Error(w, "without admin.token this endpoint answers only to calls of 127.0.0.1, [::1] or localhost", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// sameToken compares in a time that does not depend on where they differ.
func sameToken(header, token string) bool {
	kind, given, _ := strings.Cut(header, " ")
	a, b := sha256.Sum256([]byte(strings.TrimSpace(given))), sha256.Sum256([]byte(token))
	return strings.EqualFold(kind, "Bearer") && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

func localHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
