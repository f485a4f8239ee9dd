package worker

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"eventworker/internal/config"
	"eventworker/internal/consume"
	"eventworker/internal/event"
	"eventworker/internal/insights"
	"eventworker/internal/join"
	"eventworker/internal/querystore"
)

// Security reads the certificates and credentials of the brokers.
func Security(k *config.Kafka) (*tls.Config, sasl.Mechanism, error) {
	secure, err := tlsOf("kafka.tls", &k.TLS)
	if err != nil {
		return nil, nil, err
	}
	mechanism, err := saslOf(&k.SASL)
	return secure, mechanism, err
}

func tlsOf(path string, c *config.TLS) (*tls.Config, error) {
	if !c.Enabled {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("%s.ca_file: %w", path, err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s.ca_file: %s holds no certificate in PEM form", path, c.CAFile)
		}
	}
	if c.CertFile != "" {
		// Read for each connection, so that certificates rotate without a restart.
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
			return &cert, err
		}
		if _, err := t.GetClientCertificate(nil); err != nil {
			return nil, fmt.Errorf("%s.cert_file and %s.key_file: %w", path, path, err)
		}
	}
	return t, nil
}

func saslOf(c *config.SASL) (sasl.Mechanism, error) {
	if c.Mechanism == "" {
		return nil, nil
	}
	password, err := c.ReadPassword()
	if err != nil {
		return nil, fmt.Errorf("kafka.sasl.password_file: %w", err)
	}
	switch c.Mechanism {
	case "scram-sha-256":
		return scram.Mechanism(scram.SHA256, c.Username, password)
	case "scram-sha-512":
		return scram.Mechanism(scram.SHA512, c.Username, password)
	}
	return plain.Mechanism{Username: c.Username, Password: password}, nil
}

// JoinConfig is what the configuration says of the join. The applications are in the order of their names.
func JoinConfig(c *config.Config) *join.Config {
	attribution := map[string]join.Attribution{"clicked": join.ClickedOnly, "shown": join.ShownOnly}
	onMiss := map[string]join.OnMiss{"dead-letter": join.MissDeadLetter, "drop": join.MissDrop}
	j := &join.Config{
		Window: c.Join.Window, ClickWindow: c.Join.ClickWindow, ClockSkew: c.Join.ClockSkew,
		AllowedLateness: c.Join.AllowedLateness, Wait: c.Join.Wait,
		Attribution: attribution[c.Join.Attribution], OnMiss: onMiss[c.Join.OnMiss],
		BestEffort: !c.Kafka.Copartitioned, SendViews: c.Views.Send, HashTokens: c.Tokens == "hash", MaxEventAge: c.Delivery.MaxEventAge,
		DedupeWindow: c.Dedupe.Window,
		EventNames: map[event.Type]string{
			event.Shown: c.Insights.EventNames.Shown, event.Clicked: c.Insights.EventNames.Clicked,
			event.AddedToCart: c.Insights.EventNames.AddedToCart, event.Purchased: c.Insights.EventNames.Purchased,
		},
	}
	for t := event.Shown; t <= event.Purchased; t++ {
		if slices.Contains(c.Dedupe.Types, t.Name()) {
			j.Dedupe = append(j.Dedupe, t)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Insights.Applications)) {
		a := c.Insights.Applications[name]
		j.Applications = append(j.Applications, join.Application{Name: name, DefaultIndex: a.DefaultIndex, Indices: a.Indices, Served: c.Insights.Serves(name)})
	}
	return j
}

func (w *Worker) openStore() error {
	c := &w.cfg.Store
	o := querystore.Options{Path: c.Path, Memory: int64(c.Memory), Log: w.log.Named("store"),
		Owner: querystore.Owner{Group: w.cfg.Kafka.Group, Mode: w.cfg.Delivery.Mode}}
	switch c.Kind {
	case "disk":
		disk, err := querystore.OpenDisk(o)
		if err != nil {
			return err // and no store: a nil pointer in an interface is not nil
		}
		w.store = disk
	case "memory":
		w.store = querystore.NewMemory(o)
	case "redis":
		return w.openRedis()
	}
	return nil
}

// newApplications makes the client of each application that the group serves; the others stay nil.
func (w *Worker) newApplications() error {
	d := &w.cfg.Delivery
	for _, served := range w.rules.Applications {
		if !served.Served {
			w.apps, w.tallies = append(w.apps, nil), append(w.tallies, nil)
			continue
		}
		tally := newTally(w.metrics, served.Name)
		a := w.cfg.Insights.Applications[served.Name]
		app, err := insights.NewApplication(insights.ApplicationConfig{
			Name: served.Name, AppID: a.AppID, APIKey: string(a.APIKey), APIKeyFile: a.APIKeyFile,
			Region: w.cfg.Insights.Region, Endpoint: w.cfg.Insights.Endpoint,
			Timeout: d.Timeout, MaxInFlight: d.MaxInFlight, MaxEventsPerSecond: d.MaxEventsPerSecond,
			Backoff:            backoffOf(d),
			DeadLetterSystemic: d.OnSystemic == "dead-letter", Shadow: d.Mode == "shadow",
			UserAgent: "eventworker/" + w.version, Log: w.log.Named("delivery"), Observer: w.observe(served.Name, tally),
		})
		if err != nil {
			return err
		}
		w.apps, w.tallies = append(w.apps, app), append(w.tallies, tally)
	}
	return nil
}

func (w *Worker) delivererConfig(g *consume.Generation, app int) insights.DelivererConfig[part] {
	d := &w.cfg.Delivery
	return insights.DelivererConfig[part]{
		MaxBytes: int(w.cfg.Batch.MaxBytes), MaxEventAge: d.MaxEventAge, MaxElapsedTime: d.MaxElapsedTime,
		Message:             func(p part) uint64 { return p.Message.number() },
		IsPurchase:          func(p part) bool { return p.Purchase },
		Together:            ofOneMessage,
		DeadLetterAmbiguous: d.Ambiguous.Purchases == "dead-letter",
		MaySend:             g.Alive,
		Span:                w.requestSpans(w.apps[app].Name(), w.apps[app].Host()),
	}
}

// ofOneMessage says whether two events are of one message: they are kept together.
func ofOneMessage(a, b part) bool { return a.Message == b.Message }

// consumerConfig is what the configuration says of consuming.
func (w *Worker) consumerConfig(secure *tls.Config, mechanism sasl.Mechanism) consume.Config {
	k := &w.cfg.Kafka
	var create []string
	if k.CreateTopics {
		create = slices.Concat(k.Topics, []string{k.ReplayTopic, k.DeadLetterTopic})
		create = slices.DeleteFunc(create, func(topic string) bool { return topic == "" })
	}
	return consume.Config{
		CreateTopics: create, Why: w.why,
		Brokers: k.Brokers, ClientID: k.ClientID, TLS: secure, SASL: mechanism, Dial: w.opts.Dial,
		Group: k.Group, Topics: k.Topics, ReplayTopic: k.ReplayTopic, ShownTopics: k.ShownTopics, Copartitioned: k.Copartitioned,
		StartOffset: consume.StartOffset(k.StartOffset), CommitInterval: k.CommitInterval,
		SessionTimeout: k.SessionTimeout, RebalanceTimeout: k.RebalanceTimeout, DrainTimeout: w.cfg.DrainTimeout,
		MaxFetchBytes: int(k.MaxFetchBytes), Budget: int64(w.cfg.Memory.Budget), UntilCaughtUp: w.opts.UntilCaughtUp, Metadata: w.commitMetadata, Committed: w.committed, Rewind: w.rewindAll,
	}
}
