// Package config holds every setting of the worker: its default, its rules and where its value came
// from. Sources are laid over one another: defaults, a YAML file, the environment, --set. All
// mistakes are found in one pass and named with their place.
package config

import "time"

// Config mirrors docs/contract.md, section 7: one field for each key, in the same order. A Config
// that [Load] returned has been validated.
type Config struct {
	Kafka    Kafka    `yaml:"kafka"`
	Insights Insights `yaml:"insights"`
	Views    Views    `yaml:"views"`
	// Tokens says what becomes of a userToken outside the allowed alphabet: "reject" makes the
	// message invalid, "hash" replaces the token by the hexadecimal SHA-256 of its bytes.
	Tokens   string   `yaml:"tokens"`
	Store    Store    `yaml:"store"`
	Join     Join     `yaml:"join"`
	Dedupe   Dedupe   `yaml:"dedupe"`
	Batch    Batch    `yaml:"batch"`
	Delivery Delivery `yaml:"delivery"`
	Memory   Memory   `yaml:"memory"`
	// DrainTimeout is how long a stop or a rebalance waits for requests on the wire. It must be
	// shorter than kafka.rebalance_timeout, or the group goes on without the worker.
	DrainTimeout time.Duration `reload:"yes" yaml:"drain_timeout"`
	Admin        Admin         `yaml:"admin"`
	Log          Log           `yaml:"log"`
}

// Kafka says where messages come from and where dead letters go.
type Kafka struct {
	// Brokers are host:port of one or more brokers; the others are found through them.
	Brokers []string `yaml:"brokers"`
	// Group is the consumer group. Dead letters, store and commits belong to it.
	Group string `yaml:"group"`
	// ClientID names the worker in the brokers' logs and quotas.
	ClientID string `yaml:"client_id"`
	// Topics are the input topics, all with the same number of partitions.
	Topics []string `yaml:"topics"`
	// ShownTopics are those of Topics that carry shown messages; empty: any may.
	ShownTopics []string `yaml:"shown_topics"`
	// ClickedTopics are those of Topics that carry clicked messages; empty: any may.
	ClickedTopics []string `yaml:"clicked_topics"`
	// Copartitioned says that a user's messages meet in the partitions of one number. Where they do
	// not, the join is best effort and needs the redis store.
	Copartitioned bool `yaml:"copartitioned"`
	// StartOffset is "earliest" or "latest": where a group without commits starts.
	StartOffset string `yaml:"start_offset"`
	// DeadLetterTopic takes the messages that cannot be delivered. The worker is not ready without it.
	DeadLetterTopic string `yaml:"dead_letter_topic"`
	// ReplayTopic is written by dlq replay and read by the worker only.
	ReplayTopic string `yaml:"replay_topic"`
	// CreateTopics makes missing topics at start, with as many partitions as those that exist.
	CreateTopics bool `yaml:"create_topics"`
	// CommitInterval is the time between commits. Shorter: fewer repeats after a crash, more work
	// for the coordinator.
	CommitInterval time.Duration `yaml:"commit_interval"`
	// SessionTimeout is how long the group waits for a silent member. Brokers bound it (6 s to 30 min
	// by default).
	SessionTimeout time.Duration `yaml:"session_timeout"`
	// RebalanceTimeout is how long the group waits for its members at a rebalance, so the longest drain.
	RebalanceTimeout time.Duration `yaml:"rebalance_timeout"`
	// MaxFetchBytes bounds one fetch response of one broker; at most the memory budget.
	MaxFetchBytes Size `yaml:"max_fetch_bytes"`
	TLS           TLS  `yaml:"tls"`
	SASL          SASL `yaml:"sasl"`
}

// TLS says how to speak TLS to the brokers. Without CAFile the system's authorities count.
type TLS struct {
	// Enabled turns TLS on.
	Enabled bool `yaml:"enabled"`
	// CAFile holds the authorities (PEM) that sign the brokers' certificates; empty: the system's.
	CAFile string `yaml:"ca_file"`
	// CertFile is the client's certificate (PEM), for brokers that ask for one.
	CertFile string `yaml:"cert_file"`
	// KeyFile is the private key of CertFile.
	KeyFile string `yaml:"key_file"`
	// ServerName is the name that the brokers' certificates must carry; empty: their host name.
	ServerName string `yaml:"server_name"`
}

// SASL says who the worker is to the brokers. Mechanism is empty, "plain", "scram-sha-256" or
// "scram-sha-512".
type SASL struct {
	// Mechanism is empty for none, "plain", "scram-sha-256" or "scram-sha-512".
	Mechanism string `yaml:"mechanism"`
	// Username is the name to log in with.
	Username string `yaml:"username"`
	// Password is given in the environment, never in a file that is checked in.
	Password Secret `yaml:"password"`
	// PasswordFile holds the password instead.
	PasswordFile string `yaml:"password_file"`
}

// ReadPassword is the password, from the file if one is named.
func (s SASL) ReadPassword() (string, error) {
	return readSecret(s.Password, s.PasswordFile)
}

// Insights says where events go.
type Insights struct {
	// Region is "us" or "de"; it may be empty only where Endpoint is given.
	Region string `yaml:"region"`
	// Endpoint replaces the region's host, for tests and proxies: http(s)://host[:port].
	Endpoint string `yaml:"endpoint"`
	// Only lists the applications that this group serves; empty: all. Messages of other
	// configured applications are absorbed.
	Only         []string               `yaml:"only"`
	Applications map[string]Application `yaml:"applications"`
	EventNames   EventNames             `yaml:"event_names"`
}

// URL is the base of the API, without a slash at its end: the endpoint, or the region's host.
func (i Insights) URL() string {
	if i.Endpoint != "" {
		return trimSlash(i.Endpoint)
	}
	return "https://insights." + i.Region + ".algolia.io"
}

// Serves says whether this group serves the named application: it is configured, and Only is
// empty or names it.
func (i Insights) Serves(name string) bool {
	if _, known := i.Applications[name]; !known {
		return false
	}
	return len(i.Only) == 0 || contains(i.Only, name)
}

// Application is one Algolia application that messages may name.
type Application struct {
	// AppID is the application's id as the dashboard shows it: letters and digits, ten in those that Algolia gives.
	AppID string `yaml:"app_id"`
	// APIKey is the key that is sent with each request; a search-only key is enough.
	APIKey Secret `reload:"yes" yaml:"api_key"`
	// APIKeyFile is read at start and again after the API refused the key, so that keys rotate
	// without a restart.
	APIKeyFile string `reload:"yes" yaml:"api_key_file"`
	// DefaultIndex is used where neither the message nor the impression names an index.
	DefaultIndex string `yaml:"default_index"`
	// Indices are the allowed index names; empty: any.
	Indices []string `yaml:"indices"`
}

// ReadKey is the API key as it is now: read from the file if one is named. The error names the file.
func (a Application) ReadKey() (string, error) {
	return readSecret(a.APIKey, a.APIKeyFile)
}

// EventNames are the names sent where a message brings none.
type EventNames struct {
	Shown       string `yaml:"shown"`       // eventName of views
	Clicked     string `yaml:"clicked"`     // eventName of clicks
	AddedToCart string `yaml:"addedToCart"` // eventName of add-to-cart conversions
	Purchased   string `yaml:"purchased"`   // eventName of purchase conversions
}

// Views says whether shown messages become view events. Impressions are kept either way.
type Views struct {
	Send bool `yaml:"send"` // whether shown messages become view events; they are remembered either way
}

// Store says where impressions and remembered clicks are kept.
type Store struct {
	// Kind is "disk", "redis" or "memory".
	Kind string `yaml:"kind"`
	// Path is the directory of the disk store.
	Path string `yaml:"path"`
	// Memory bounds the history kept in memory: its newest part (disk) or all of it (memory).
	Memory Size `yaml:"memory"`
	// Restore is "auto" or "off": whether what the store lacks is read again from Kafka at start.
	Restore string `yaml:"restore"`
	Redis   Redis  `yaml:"redis"`
}

// Redis says how to reach the shared store (docs/redis.md).
type Redis struct {
	// Addresses are host:port of the server, of several nodes of a cluster, or of the sentinels.
	Addresses []string `yaml:"addresses"`
	// Mode is "auto", "single", "sentinel" or "cluster"; with auto the first server that answers says what it is.
	Mode string `yaml:"mode"`
	// SentinelMaster is the name under which the sentinels know the master; empty: the only one they know.
	SentinelMaster string `yaml:"sentinel_master"`
	// SentinelUsername is the ACL user of the sentinels themselves.
	SentinelUsername string `yaml:"sentinel_username"`
	// SentinelPassword is given in the environment, never in a file that is checked in.
	SentinelPassword Secret `yaml:"sentinel_password"`
	// SentinelPasswordFile holds the sentinels' password instead.
	SentinelPasswordFile string `yaml:"sentinel_password_file"`
	// Database is the number of the database; a cluster has only 0.
	Database int `yaml:"database"`
	// Username is the ACL user; empty: the default one.
	Username string `yaml:"username"`
	// Password is given in the environment, never in a file that is checked in.
	Password Secret `yaml:"password"`
	// PasswordFile holds the password instead; it is read for each connection, so that it may change.
	PasswordFile string   `yaml:"password_file"`
	TLS          RedisTLS `yaml:"tls"`
	// KeyPrefix begins every key, so that groups can share a server: each has a prefix of its own.
	KeyPrefix string `yaml:"key_prefix"`
	// DialTimeout bounds the making of a connection.
	DialTimeout time.Duration `yaml:"dial_timeout"`
	// Timeout bounds one exchange with a server; then the partition waits and tries again.
	Timeout time.Duration `yaml:"timeout"`
	// Standstill is how long all workers may stand still before records can be missing, and everything is
	// restored from Kafka. What is stored lives that much longer than the longest window.
	Standstill time.Duration `yaml:"standstill"`
}

// ReadPassword is the password, from the file if one is named.
func (r Redis) ReadPassword() (string, error) {
	return readSecret(r.Password, r.PasswordFile)
}

// ReadSentinelPassword is the sentinels' password, from the file if one is named.
func (r Redis) ReadSentinelPassword() (string, error) {
	return readSecret(r.SentinelPassword, r.SentinelPasswordFile)
}

// RedisTLS says whether to speak TLS to Redis, and whom to trust.
type RedisTLS struct {
	Enabled bool `yaml:"enabled"` // turns TLS on
	// CAFile holds the authorities (PEM) that sign the servers' certificates; empty: the system's.
	CAFile string `yaml:"ca_file"`
	// CertFile is the client's certificate (PEM), for servers that ask for one.
	CertFile string `yaml:"cert_file"`
	// KeyFile is the private key of CertFile.
	KeyFile string `yaml:"key_file"`
	// ServerName is the name that the servers' certificates must carry; empty: their host name.
	ServerName string `yaml:"server_name"`
}

// Join holds the rules of attribution (docs/contract.md, section 2). All but Wait are event time.
type Join struct {
	// Window is how old an impression may be that answers a click or a purchase.
	Window time.Duration `yaml:"window"`
	// ClickWindow is how old a click may be that answers an add-to-cart or a purchase.
	ClickWindow time.Duration `yaml:"click_window"`
	// ClockSkew is how much later than the event an impression may be that answers it, if none before it does.
	ClockSkew time.Duration `yaml:"clock_skew"`
	// AllowedLateness is how far messages may be out of order before a look-up counts as missed.
	AllowedLateness time.Duration `yaml:"allowed_lateness"`
	// Wait is the clock time a miss waits at the end of the log.
	Wait time.Duration `yaml:"wait"`
	// Attribution is "clicked-then-shown", "clicked" or "shown".
	Attribution string `yaml:"attribution"`
	// OnMiss is "send", "dead-letter" or "drop".
	OnMiss string `yaml:"on_miss"`
}

// Dedupe says which types of messages are de-duplicated by their id, and for how long.
type Dedupe struct {
	// Types are of "shown", "clicked", "addedToCart", "purchased".
	Types []string `yaml:"types"`
	// Window is how far apart, in event time, two messages of one id may be to be copies.
	Window time.Duration `yaml:"window"`
}

// Batch bounds a request to the API.
type Batch struct {
	MaxEvents int  `yaml:"max_events"` // 1 to 1,000
	MaxBytes  Size `yaml:"max_bytes"`  // of the whole body; at most 1,900,000, the API refuses 2 MB
	// Linger is the longest time an event waits for others.
	Linger time.Duration `yaml:"linger"`
}

// Delivery says how requests are made and repeated.
type Delivery struct {
	// Mode is "send", or "shadow": everything but the request.
	Mode string `yaml:"mode"`
	// MaxInFlight is the upper bound of requests at a time for each application.
	MaxInFlight int `reload:"yes" yaml:"max_in_flight"`
	// MaxEventsPerSecond caps the rate; 0: no cap.
	MaxEventsPerSecond int           `reload:"yes" yaml:"max_events_per_second"`
	Timeout            time.Duration `reload:"yes" yaml:"timeout"` // of one request
	// MaxEventAge is the age beyond which an event is not sent any more, up to 720h. Four days is what the
	// API has always taken; its specification says 30 days since February 2026.
	MaxEventAge time.Duration `yaml:"max_event_age"`
	// MaxElapsedTime bounds the tries of an event from the first on; 0: no bound.
	MaxElapsedTime time.Duration `yaml:"max_elapsed_time"`
	// OnSystemic is "pause" or "dead-letter": what to do when the API refuses everything.
	OnSystemic string    `yaml:"on_systemic"`
	Ambiguous  Ambiguous `yaml:"ambiguous"`
	Backoff    Backoff   `yaml:"backoff"`
}

// Ambiguous says what becomes of purchases in a request that timed out and may have been taken:
// "retry" or "dead-letter".
type Ambiguous struct {
	Purchases string `yaml:"purchases"` // "retry" (may count twice) or "dead-letter" (a person decides)
}

// Backoff is the wait between tries: it starts at InitialInterval, grows by Multiplier up to
// MaxInterval, and is spread by RandomizationFactor to both sides.
type Backoff struct {
	InitialInterval     time.Duration `reload:"yes" yaml:"initial_interval"`     // the first wait
	Multiplier          float64       `reload:"yes" yaml:"multiplier"`           // by which each wait is longer than the one before
	MaxInterval         time.Duration `reload:"yes" yaml:"max_interval"`         // the longest wait
	RandomizationFactor float64       `reload:"yes" yaml:"randomization_factor"` // 0 to 1: the share by which a wait is spread to both sides
}

// Memory bounds everything held between fetch and settlement.
type Memory struct {
	Budget Size `yaml:"budget"` // bytes of everything between fetch and settlement
}

// Admin is the HTTP server of metrics, probes and status.
type Admin struct {
	// Listen is host:port; empty: no admin server.
	Listen string `yaml:"listen"`
	PProf  bool   `yaml:"pprof"` // adds Go's profiles below /debug/pprof/
	// Token is what callers of writing endpoints send as "Authorization: Bearer TOKEN". Without one
	// these endpoints answer only while Listen is a loopback address; probes and metrics need none.
	Token Secret `reload:"yes" yaml:"token"`
	// TokenFile holds the token instead. It is read at start and at each reload.
	TokenFile string `reload:"yes" yaml:"token_file"`
	// StallAfter is how long a partition may stand still while it could move before /livez fails.
	StallAfter time.Duration `yaml:"stall_after"`
}

// ReadToken is the token of the writing endpoints, from the file if one is named; empty: none.
func (a Admin) ReadToken() (string, error) {
	return readSecret(a.Token, a.TokenFile)
}

// Log says what is logged, and how. Level is "debug", "info", "warn" or "error"; Format is
// "console", "json", or "auto": console on a terminal, JSON elsewhere.
type Log struct {
	Level  string `reload:"yes"  yaml:"level"` // "debug", "info", "warn" or "error"
	Format string `yaml:"format"`              // "console", "json", or "auto": console on a terminal, JSON elsewhere
}
