package telemetry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// bodies says for each request how long the server waits for its body: not at all, until [wantBody] says that
// somebody wants it. Else a caller who announces a body and does not send it would keep the server waiting
// for it, before or after the answer. Such a connection ends with its answer.
//
// A request without one may be answered for as long as adminWrite lets: the time for reading it, which the
// server would take for the end of the request, is lifted.
func bodies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		if r.ContentLength == 0 {
			_ = control.SetReadDeadline(time.Time{}) // not over a network in tests
		} else {
			w.Header().Set("Connection", "close")
			_ = control.SetReadDeadline(time.Unix(1, 0))
		}
		next.ServeHTTP(w, r)
	})
}

// wantBody reads the body of a request, of at most adminBodyBytes, within adminBody. Its connection rests
// meanwhile, since it is the caller's turn.
func wantBody(w http.ResponseWriter, r *http.Request) error {
	if r.ContentLength == 0 || r.Body == nil {
		r.Body = http.NoBody
		return nil
	}
	control, conn := http.NewResponseController(w), connOf(r)
	_ = control.SetReadDeadline(time.Now().Add(adminBody)) // not over a network in tests
	conn.works(false)
	body, err := io.ReadAll(r.Body)
	conn.works(true)
	if err != nil {
		return err
	}
	_ = control.SetReadDeadline(time.Time{})
	w.Header().Del("Connection")
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// taking reads what an action takes, and refuses what it does not.
func taking(act *Action, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := wantBody(w, r); err != nil {
			code := http.StatusRequestTimeout
			if errors.As(err, new(*http.MaxBytesError)) {
				code = http.StatusRequestEntityTooLarge
			}
			http.Error(w, "the body of the request did not come: "+err.Error(), code)
			return
		}
		if err := act.parse(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// parse reads the parameters into r.Form and judges them.
func (act *Action) parse(r *http.Request) error {
	var err error
	switch kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); {
	case act.JSON:
		r.Form, err = url.ParseQuery(r.URL.RawQuery) // the body is the handler's, whatever it is said to be
	case r.ContentLength == 0 || kind == "application/x-www-form-urlencoded":
		err = r.ParseForm()
	default:
		return errors.New("want parameters in the query, or as a form (application/x-www-form-urlencoded); " + act.takes())
	}
	if err != nil {
		return fmt.Errorf("the parameters cannot be read: %w", err)
	}
	for name, values := range r.Form {
		switch {
		case !slices.Contains(act.Parameters, name):
			return fmt.Errorf("there is no parameter %.100q; %s", name, act.takes())
		case len(values) > 1:
			return fmt.Errorf("the parameter %s is there %d times", name, len(values))
		case strings.TrimSpace(values[0]) == "":
			return fmt.Errorf("the parameter %s is empty: leave it out, or say what you mean", name)
		case len(values[0]) > noteBytes:
			return fmt.Errorf("the parameter %s has %d bytes, of %d at most", name, len(values[0]), noteBytes)
		}
	}
	return nil
}

// takes says which parameters there are.
func (act *Action) takes() string {
	if len(act.Parameters) == 0 {
		return act.Path + " takes none"
	}
	return act.Path + " takes " + strings.Join(act.Parameters, ", ")
}
