package config

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Validate checks every rule and gives an *[Error] with all that are broken, or nil. With forRun it
// also checks what only a running worker needs: credentials, and that their files can be read.
func (c *Config) Validate(forRun bool) error { return errorOf(c.problems(forRun)) }

// problems are the broken rules, in the order of the contract.
func (c *Config) problems(forRun bool) []Problem {
	v := &validator{forRun: forRun}
	v.kafka(c)
	v.insights(c)
	v.oneOf("tokens", c.Tokens, "reject", "hash")
	v.store(c)
	v.join(&c.Join)
	v.dedupe(&c.Dedupe)
	v.batch(&c.Batch)
	v.delivery(&c.Delivery)
	v.size("memory.budget", c.Memory.Budget, 4<<20, 1<<40)
	v.duration("drain_timeout", c.DrainTimeout, 100*time.Millisecond, time.Hour)
	if c.DrainTimeout >= c.Kafka.RebalanceTimeout {
		v.add("drain_timeout", "must be shorter than kafka.rebalance_timeout (%s), got %s: the group would not wait",
			formatDuration(c.Kafka.RebalanceTimeout), formatDuration(c.DrainTimeout))
	}
	if c.Admin.Listen != "" {
		v.address("admin.listen", c.Admin.Listen, "127.0.0.1:9402", true)
	}
	v.secret("admin.token", c.Admin.Token, c.Admin.TokenFile, forRun)
	v.duration("admin.stall_after", c.Admin.StallAfter, time.Minute, time.Hour)
	v.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	v.oneOf("log.format", c.Log.Format, "auto", "console", "json")
	return v.problems
}

type validator struct {
	forRun   bool
	problems []Problem
}

func (v *validator) add(path, format string, args ...any) {
	v.problems = append(v.problems, Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (v *validator) kafka(c *Config) {
	k := &c.Kafka
	if v.filled("kafka.brokers", k.Brokers) {
		for i, b := range k.Brokers {
			v.address(element("kafka.brokers", i), b, "localhost:9092", false)
		}
	}
	v.required("kafka.group", k.Group)
	v.required("kafka.client_id", k.ClientID)
	v.oneOf("kafka.start_offset", k.StartOffset, "earliest", "latest")
	v.topics(k)
	if !k.Copartitioned && c.Store.Kind != "redis" {
		v.add("kafka.copartitioned", "false needs store.kind redis, got %s: a user's messages would meet nowhere else", quote(c.Store.Kind))
	}
	v.duration("kafka.commit_interval", k.CommitInterval, 10*time.Millisecond, time.Minute)
	v.duration("kafka.session_timeout", k.SessionTimeout, time.Second, 30*time.Minute)
	v.duration("kafka.rebalance_timeout", k.RebalanceTimeout, time.Second, time.Hour)
	if k.CommitInterval >= k.SessionTimeout {
		v.add("kafka.commit_interval", "must be shorter than kafka.session_timeout (%s), got %s",
			formatDuration(k.SessionTimeout), formatDuration(k.CommitInterval))
	}
	v.size("kafka.max_fetch_bytes", k.MaxFetchBytes, 64<<10, 1<<30)
	if k.MaxFetchBytes > c.Memory.Budget {
		v.add("kafka.max_fetch_bytes", "must not be more than memory.budget (%s), got %s", c.Memory.Budget, k.MaxFetchBytes)
	}
	v.tls(&k.TLS)
	v.sasl(&k.SASL)
}

func (v *validator) topics(k *Kafka) {
	if v.filled("kafka.topics", k.Topics) {
		v.unique("kafka.topics", k.Topics)
		for i, t := range k.Topics {
			v.topic(element("kafka.topics", i), t)
		}
	}
	v.subset("kafka.shown_topics", k.ShownTopics, "kafka.topics", k.Topics)
	v.subset("kafka.clicked_topics", k.ClickedTopics, "kafka.topics", k.Topics)
	v.topic("kafka.dead_letter_topic", k.DeadLetterTopic)
	v.topic("kafka.replay_topic", k.ReplayTopic)
	for _, own := range []struct{ path, name, words string }{
		{"kafka.dead_letter_topic", k.DeadLetterTopic, ""},
		{"kafka.dead_letter_topic", k.DeadLetterTopic + ".state", ", the topic of its records' state,"},
		{"kafka.replay_topic", k.ReplayTopic, ""},
	} {
		if own.name != "" && contains(k.Topics, own.name) {
			v.add(own.path, "%s%s is also an input topic (kafka.topics): the worker would read what it writes", quote(own.name), own.words)
		}
	}
	if k.ReplayTopic != "" && (k.ReplayTopic == k.DeadLetterTopic || k.ReplayTopic == k.DeadLetterTopic+".state") {
		v.add("kafka.replay_topic", "must differ from kafka.dead_letter_topic and its state topic, got %s", quote(k.ReplayTopic))
	}
}

func (v *validator) tls(t *TLS) {
	if !t.Enabled && (t.CAFile != "" || t.CertFile != "" || t.KeyFile != "" || t.ServerName != "") {
		v.add("kafka.tls.enabled", "is false, but other keys of kafka.tls are given; set it to true or remove them")
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		v.add("kafka.tls.cert_file", "and kafka.tls.key_file belong together; give both or none")
	}
	v.readable("kafka.tls.ca_file", t.CAFile)
	v.readable("kafka.tls.cert_file", t.CertFile)
	v.readable("kafka.tls.key_file", t.KeyFile)
}

func (v *validator) sasl(s *SASL) {
	v.oneOf("kafka.sasl.mechanism", s.Mechanism, "", "plain", "scram-sha-256", "scram-sha-512")
	v.secret("kafka.sasl.password", s.Password, s.PasswordFile, v.forRun && s.Mechanism != "")
	given := s.Username != "" || s.Password != "" || s.PasswordFile != ""
	if s.Mechanism == "" {
		if given {
			v.add("kafka.sasl.mechanism", "is missing, but credentials are given; choose plain, scram-sha-256 or scram-sha-512")
		}
		return
	}
	v.required("kafka.sasl.username", s.Username)
	if v.forRun && s.Password == "" && s.PasswordFile == "" {
		v.missing("kafka.sasl.password")
	}
}

func (v *validator) insights(c *Config) {
	i := &c.Insights
	if i.Endpoint == "" || i.Region != "" {
		v.oneOf("insights.region", i.Region, "us", "de")
	}
	if i.Endpoint != "" {
		v.endpoint("insights.endpoint", i.Endpoint)
	}
	names := make([]string, 0, len(i.Applications))
	for name := range i.Applications {
		names = append(names, name)
	}
	sort.Strings(names)
	v.subset("insights.only", i.Only, "insights.applications", names)
	v.environmentNames(names)
	for _, name := range names {
		needed := v.forRun && c.Delivery.Mode != "shadow" && i.Serves(name)
		v.application(join(applicationsPath, name), i.Applications[name], needed)
	}
	v.eventName("insights.event_names.shown", i.EventNames.Shown)
	v.eventName("insights.event_names.clicked", i.EventNames.Clicked)
	v.eventName("insights.event_names.addedToCart", i.EventNames.AddedToCart)
	v.eventName("insights.event_names.purchased", i.EventNames.Purchased)
}

// environmentNames refuses two applications that one variable's name would mean.
func (v *validator) environmentNames(names []string) {
	met := map[string]string{}
	for _, name := range names {
		level := envLevel(name)
		if other, twice := met[level]; twice {
			v.add(join(applicationsPath, name), "is %s in the environment, as %s is; rename one", level, other)
		}
		met[level] = name
	}
}

var (
	appIDForm = regexp.MustCompile(`^[A-Za-z0-9]{1,64}$`)
	keyForm   = regexp.MustCompile(`^[\x21-\x7E]*$`)
)

func (v *validator) application(path string, a Application, needed bool) {
	if a.AppID != "" && !appIDForm.MatchString(a.AppID) {
		v.add(path+".app_id", "want letters and digits, as the dashboard shows the application's id, got %s", quote(a.AppID))
	}
	v.secret(path+".api_key", a.APIKey, a.APIKeyFile, needed)
	if needed {
		if a.AppID == "" {
			v.missing(path + ".app_id")
		}
		if a.APIKey == "" && a.APIKeyFile == "" {
			v.missing(path + ".api_key")
		}
	}
	for i, name := range a.Indices {
		v.index(element(path+".indices", i), name)
	}
	v.unique(path+".indices", a.Indices)
	if a.DefaultIndex == "" {
		return
	}
	v.index(path+".default_index", a.DefaultIndex)
	if len(a.Indices) > 0 && !contains(a.Indices, a.DefaultIndex) {
		v.add(path+".default_index", "%s is not among the allowed indices (%s)", quote(a.DefaultIndex), strings.Join(a.Indices, ", "))
	}
}

func (v *validator) index(path, name string) {
	if len(name) < 1 || len(name) > 256 {
		v.add(path, "want an index name of 1 to 256 bytes, got %d bytes", len(name))
	}
}

// eventName applies the API's rule for names (insights-api.md, section 2).
func (v *validator) eventName(path, name string) {
	outside := strings.IndexFunc(name, func(r rune) bool { return r < 0x20 || r > 0x7E }) >= 0
	if len(name) < 1 || len(name) > 64 || outside {
		v.add(path, "want 1 to 64 characters from space to ~ (ASCII), got %s", quote(name))
	}
}

func (v *validator) store(c *Config) {
	s := &c.Store
	v.oneOf("store.kind", s.Kind, "disk", "redis", "memory")
	v.oneOf("store.restore", s.Restore, "auto", "off")
	if s.Kind == "disk" {
		v.required("store.path", s.Path)
	}
	v.size("store.memory", s.Memory, 1<<20, 1<<40)
	v.redis(&s.Redis, s.Kind == "redis")
}

func (v *validator) redis(r *Redis, used bool) {
	if used && v.filled("store.redis.addresses", r.Addresses) {
		for i, a := range r.Addresses {
			v.address(element("store.redis.addresses", i), a, "localhost:6379", false)
		}
	}
	v.oneOf("store.redis.mode", r.Mode, "auto", "single", "sentinel", "cluster")
	if r.Mode == "single" && len(r.Addresses) > 1 {
		v.add("store.redis.addresses", "names %d servers, but store.redis.mode is single; name one, or choose sentinel or cluster", len(r.Addresses))
	}
	if r.SentinelMaster != "" && (r.Mode == "single" || r.Mode == "cluster") {
		v.add("store.redis.sentinel_master", "is given, but store.redis.mode is %s; choose sentinel, or remove it", r.Mode)
	}
	v.number("store.redis.database", r.Database, 0, 1<<20)
	if r.Database != 0 && r.Mode == "cluster" {
		v.add("store.redis.database", "must be 0 with store.redis.mode cluster, got %d: a cluster has no other", r.Database)
	}
	v.secret("store.redis.password", r.Password, r.PasswordFile, v.forRun && used)
	v.secret("store.redis.sentinel_password", r.SentinelPassword, r.SentinelPasswordFile, v.forRun && used)
	if r.Username != "" && r.Password == "" && r.PasswordFile == "" && used && v.forRun {
		v.missing("store.redis.password")
	}
	v.redisTLS(&r.TLS, used)
	if strings.ContainsAny(r.KeyPrefix, "{} \t\n") || len(r.KeyPrefix) > 100 || r.KeyPrefix == "" && used {
		v.add("store.redis.key_prefix", "want 1 to 100 characters without white space and braces, which would put all keys on one node of a cluster, got %s", quote(r.KeyPrefix))
	}
	v.duration("store.redis.dial_timeout", r.DialTimeout, 10*time.Millisecond, time.Minute)
	v.duration("store.redis.timeout", r.Timeout, 10*time.Millisecond, time.Minute)
	v.duration("store.redis.standstill", r.Standstill, time.Minute, 365*24*time.Hour)
}

func (v *validator) redisTLS(t *RedisTLS, used bool) {
	if !t.Enabled && (t.CAFile != "" || t.CertFile != "" || t.KeyFile != "" || t.ServerName != "") {
		v.add("store.redis.tls.enabled", "is false, but other keys of store.redis.tls are given; set it to true or remove them")
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		v.add("store.redis.tls.cert_file", "and store.redis.tls.key_file belong together; give both or none")
	}
	if used {
		v.readable("store.redis.tls.ca_file", t.CAFile)
		v.readable("store.redis.tls.cert_file", t.CertFile)
		v.readable("store.redis.tls.key_file", t.KeyFile)
	}
}

const longestWindow = 30 * 24 * time.Hour // what the API takes at most

func (v *validator) join(j *Join) {
	v.duration("join.window", j.Window, time.Second, longestWindow)
	v.duration("join.click_window", j.ClickWindow, time.Second, longestWindow)
	v.duration("join.clock_skew", j.ClockSkew, 0, time.Hour)
	v.duration("join.allowed_lateness", j.AllowedLateness, 0, 24*time.Hour)
	v.duration("join.wait", j.Wait, 0, 24*time.Hour)
	v.oneOf("join.attribution", j.Attribution, "clicked-then-shown", "clicked", "shown")
	v.oneOf("join.on_miss", j.OnMiss, "send", "dead-letter", "drop")
}

func (v *validator) dedupe(d *Dedupe) {
	for i, t := range d.Types {
		v.oneOf(element("dedupe.types", i), t, "shown", "clicked", "addedToCart", "purchased")
	}
	v.unique("dedupe.types", d.Types)
	v.duration("dedupe.window", d.Window, time.Second, longestWindow)
}

func (v *validator) batch(b *Batch) {
	v.number("batch.max_events", b.MaxEvents, 1, 1000)
	v.size("batch.max_bytes", b.MaxBytes, 64<<10, MaxBatchBytes) // 64 KiB: any single event fits
	v.duration("batch.linger", b.Linger, 0, 10*time.Minute)
}

func (v *validator) delivery(d *Delivery) {
	v.oneOf("delivery.mode", d.Mode, "send", "shadow")
	v.number("delivery.max_in_flight", d.MaxInFlight, 1, 1024)
	v.number("delivery.max_events_per_second", d.MaxEventsPerSecond, 0, 1_000_000_000)
	v.duration("delivery.timeout", d.Timeout, 100*time.Millisecond, 5*time.Minute)
	v.duration("delivery.max_event_age", d.MaxEventAge, time.Minute, longestWindow)
	v.duration("delivery.max_elapsed_time", d.MaxElapsedTime, 0, longestWindow)
	v.oneOf("delivery.on_systemic", d.OnSystemic, "pause", "dead-letter")
	v.oneOf("delivery.ambiguous.purchases", d.Ambiguous.Purchases, "retry", "dead-letter")
	b := &d.Backoff
	v.duration("delivery.backoff.initial_interval", b.InitialInterval, time.Millisecond, 5*time.Minute)
	v.float("delivery.backoff.multiplier", b.Multiplier, 1, 100)
	v.duration("delivery.backoff.max_interval", b.MaxInterval, time.Millisecond, time.Hour)
	if b.MaxInterval < b.InitialInterval {
		v.add("delivery.backoff.max_interval", "must not be shorter than initial_interval (%s), got %s",
			formatDuration(b.InitialInterval), formatDuration(b.MaxInterval))
	}
	v.float("delivery.backoff.randomization_factor", b.RandomizationFactor, 0, 1)
}

// Rules that several keys share.

func element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func (v *validator) required(path, value string) {
	if value == "" {
		v.add(path, "must not be empty")
	}
}

// missing is a value that no default can give: it says the ways to give it.
func (v *validator) missing(path string) {
	words := "is missing; give it in the file or as " + EnvName(path)
	if strings.HasSuffix(path, "api_key") || strings.HasSuffix(path, "password") {
		words = "is missing; give it as " + EnvName(path) + ", or name its file as " + path[strings.LastIndexByte(path, '.')+1:] + "_file"
	}
	v.add(path, "%s", words)
}

func (v *validator) filled(path string, list []string) bool {
	if len(list) == 0 {
		v.add(path, "must not be empty")
	}
	return len(list) > 0
}

func (v *validator) oneOf(path, value string, choices ...string) {
	if slices.Contains(choices, value) {
		return
	}
	shown := slices.DeleteFunc(slices.Clone(choices), func(s string) bool { return s == "" })
	hint := ""
	if near := Nearest(value, shown); near != "" {
		hint = "; did you mean " + near + "?"
	}
	v.add(path, "want one of %s, got %s%s", strings.Join(shown, ", "), quote(value), hint)
}

func (v *validator) subset(path string, list []string, ofPath string, of []string) {
	for i, s := range list {
		if !contains(of, s) {
			v.add(element(path, i), "%s is not among %s (%s)", quote(s), ofPath, strings.Join(of, ", "))
		}
	}
	v.unique(path, list)
}

func (v *validator) unique(path string, list []string) {
	for i, s := range list {
		if contains(list[:i], s) {
			v.add(element(path, i), "%s is listed twice", quote(s))
		}
	}
}

func (v *validator) number(path string, n, low, high int) {
	if n < low || n > high {
		v.add(path, "want %d to %d, got %d", low, high, n)
	}
}

func (v *validator) float(path string, n, low, high float64) {
	if !(n >= low && n <= high) { // so that NaN is refused
		v.add(path, "want %v to %v, got %v", low, high, n)
	}
}

func (v *validator) size(path string, s, low, high Size) {
	if s < low || s > high {
		v.add(path, "want %s to %s, got %s", low, high, s)
	}
}

func (v *validator) duration(path string, d, low, high time.Duration) {
	if d < low || d > high {
		v.add(path, "want %s to %s, got %s", formatDuration(low), formatDuration(high), formatDuration(d))
	}
}

var topicForm = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

func (v *validator) topic(path, name string) {
	if !topicForm.MatchString(name) || name == "." || name == ".." {
		v.add(path, "want a topic name of 1 to 249 letters, digits, dots, _ and -, got %s", quote(name))
	}
}

// address wants host:port. Where one listens the host may be empty and the port 0.
func (v *validator) address(path, value, example string, listen bool) {
	host, port, err := net.SplitHostPort(value)
	n, portErr := strconv.Atoi(port)
	lowest := 1
	if listen {
		lowest = 0
	}
	if err != nil || portErr != nil || n < lowest || n > 65535 || host == "" && !listen || strings.ContainsAny(host, "/@ ") {
		v.add(path, "want host:port, such as %s, got %s", example, quote(hideUser(value)))
	}
}

func (v *validator) endpoint(path, value string) {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Hostname() == "":
		v.add(path, "want http(s)://host[:port], got %s", quote(hideUser(value)))
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		v.add(path, "want no credentials, query or fragment in it; credentials belong to insights.applications")
	}
}

// hideUser removes what stands before an @: it may be a password.
func hideUser(value string) string {
	if at := strings.LastIndexByte(value, '@'); at >= 0 {
		return redacted + value[at:]
	}
	return value
}

// secret checks a secret's two keys: one at most is given, and it can go into a header or a handshake.
// The file is read only where it is needed.
func (v *validator) secret(path string, value Secret, file string, needed bool) {
	if value != "" && file != "" {
		v.add(path, "and %s_file are both given; remove one", path[strings.LastIndexByte(path, '.')+1:])
		return
	}
	content := string(value)
	if file != "" && needed {
		read, err := readSecret("", file)
		if err != nil {
			v.add(path+"_file", "%v", err)
			return
		}
		content = read
	}
	if (strings.HasSuffix(path, "api_key") || path == "admin.token") && !keyForm.MatchString(content) {
		v.add(path, "holds white space or characters outside ASCII; keys do not (it is not shown here)")
	}
}

func (v *validator) readable(path, file string) {
	if file == "" || !v.forRun {
		return
	}
	if _, err := readBounded(file, maxFile); err != nil {
		v.add(path, "%s: %v", file, err)
	}
}
