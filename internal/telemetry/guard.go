package telemetry

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"slices"
	"strings"

	"go.uber.org/zap"
)

// SetToken replaces the token that protects actions; empty: none.
func (a *Admin) SetToken(token string) { a.token.Store(&token) }

// local says whether only this machine reaches the server.
func (a *Admin) local() bool {
	addr, ok := a.listener.Addr().(*net.TCPAddr)
	return ok && addr.IP.IsLoopback()
}

// Action is an endpoint that changes something, or shows what probes do not: a user's history.
type Action struct {
	Method, Path, About string
	// Parameters are those that it takes, in the query or as a form. Others are refused, since one that is
	// misspelt and left out would make the action another one; so are those that come twice or are empty.
	Parameters []string
	// JSON: it takes a JSON document as its body, and no form.
	JSON bool
}

// ParameterNote is the parameter that says why an action is asked for. It stands in the audit line.
const ParameterNote = "note"

// noteBytes bounds a parameter of an action, of which notes are the longest.
const noteBytes = 500

// HandleAction adds an action. It answers
//
//   - with a token: to requests that carry it as "Authorization: Bearer TOKEN";
//   - without one: on the loopback address to whoever calls it by that address or as localhost, and
//     nowhere else.
//
// Requests from other sites' pages are refused in any case. A call that is allowed leaves an audit line in
// the log: what, with which parameters, from where, and how it was answered. The body of a JSON document does
// not stand in it.
func (a *Admin) HandleAction(act Action, h http.Handler) {
	first := !slices.ContainsFunc(a.endpoints, func(e endpoint) bool { return !e.Link })
	if first && a.options.Token == "" && !a.local() {
		a.options.Log.Warn("the admin server listens beyond this machine and admin.token is not set: what changes something answers 403; probes, metrics and status are open",
			zap.String(KeyAddress, a.Addr().String()))
	}
	a.mux.Handle(act.Method+" "+act.Path, http.NewCrossOriginProtection().Handler(a.guard(a.audited(&act, taking(&act, h)))))
	a.endpoints = append(a.endpoints, endpoint{act.Path, act.Method + ": " + act.About, false})
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

// audited writes who did what to the log, as the commands that change something do on standard error.
func (a *Admin) audited(act *Action, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		noted := &notedStatus{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(noted, r)
		fields := []zap.Field{zap.String(KeyFrom, r.RemoteAddr), Status(noted.status)}
		for _, name := range act.Parameters {
			if value := r.Form.Get(name); value != "" && noted.status != http.StatusBadRequest {
				fields = append(fields, zap.String(name, value))
			}
		}
		a.options.Log.Info("audit: "+act.Method+" "+act.Path+" was called", fields...)
	})
}

// notedStatus remembers how a request was answered.
type notedStatus struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (n *notedStatus) WriteHeader(code int) {
	n.status = code
	n.ResponseWriter.WriteHeader(code)
}

// Unwrap is for http.ResponseController.
func (n *notedStatus) Unwrap() http.ResponseWriter { return n.ResponseWriter }

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
