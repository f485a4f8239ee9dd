//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const project = "eventworkertest"

// ports are where the stack is published; each has the name of its setting.
type ports map[string]int

var portNames = []string{"KAFKA_PORT", "FAKE_PORT", "ADMIN_PORT", "ADMIN_PORT_2", "ADMIN_PORT_3", "REDIS_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT"}

// address is where a service is published.
func (t *test) address(name string) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(t.ports[name]))
}

func (t *test) url(name, path string) string { return "http://" + t.address(name) + path }

// findCompose takes the plug-in, or else the older program.
func (t *test) findCompose(ctx context.Context) error {
	if _, err := t.output(ctx, "docker", "compose", "version"); err == nil {
		t.compose = []string{"docker", "compose"}
	} else if _, err := exec.LookPath("docker-compose"); err == nil {
		t.compose = []string{"docker-compose"}
	} else {
		return errors.New("neither docker compose nor docker-compose is installed")
	}
	version, err := t.output(ctx, t.compose[0], append(t.compose[1:], "version", "--short")...)
	fmt.Printf("%s %s\n", strings.Join(t.compose, " "), strings.TrimSpace(version))
	return err
}

// composed runs a compose command.
func (t *test) composed(ctx context.Context, args ...string) error {
	return t.quietly(ctx, nil, t.compose[0], append(slices.Clone(t.compose[1:]), args...)...)
}

func (t *test) composedOutput(ctx context.Context, args ...string) (string, error) {
	return t.output(ctx, t.compose[0], append(slices.Clone(t.compose[1:]), args...)...)
}

var (
	exampleLine = regexp.MustCompile(`(?m)^([A-Z][A-Z0-9_]*)=(.*)$`)
	composeUse  = regexp.MustCompile(`\$\{([A-Z][A-Z0-9_]*):?-([^}]*)\}`)
)

// settings holds .env.example against the defaults of the compose file, so that neither has a setting
// that the other lacks or gives another value, and then sets all of them, so that no .env of the user
// has a say.
func (t *test) settings() error {
	example, err := os.ReadFile(".env.example")
	if err != nil {
		return err
	}
	file, err := os.ReadFile("docker-compose.yml")
	if err != nil {
		return err
	}
	documented := map[string]string{}
	for _, m := range exampleLine.FindAllStringSubmatch(string(example), -1) {
		documented[m[1]] = m[2]
	}
	used := map[string]bool{}
	var errs []error
	for _, m := range composeUse.FindAllStringSubmatch(string(file), -1) {
		used[m[1]] = true
		if value, is := documented[m[1]]; !is || value != m[2] {
			errs = append(errs, fmt.Errorf("%s is %q in docker-compose.yml and %q in .env.example", m[1], m[2], value))
		}
	}
	for name := range documented {
		if !used[name] {
			errs = append(errs, fmt.Errorf("%s of .env.example is not used", name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return t.set(documented)
}

// set makes the settings of this run: ports that are free, and a bounded log as fast as can be.
func (t *test) set(values map[string]string) error {
	t.ports = ports{}
	for _, name := range portNames {
		if _, is := values[name]; !is {
			return fmt.Errorf("%s is no setting", name)
		}
		port, err := freePort()
		if err != nil {
			return err
		}
		t.ports[name] = port
		values[name] = strconv.Itoa(port)
	}
	values["SIMULATE_COUNT"], values["SIMULATE_RATE"] = strconv.Itoa(firstCount), "0"
	values["SIMULATE_POISON"], values["SIMULATE_SEED"] = "0.03", "100"
	for name, value := range values {
		t.env = slices.DeleteFunc(t.env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
		t.env = append(t.env, name+"="+value)
	}
	return nil
}

// freePort picks a port of 127.0.0.1 that nobody listens on, below those that the system hands out.
func freePort() (int, error) {
	const first, count, tries = 20000, 10000, 100
	for range tries {
		port := first + rand.IntN(count)
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no free port on 127.0.0.1")
}

func (t *test) build(ctx context.Context) error {
	if err := t.composed(ctx, "build", "worker"); err != nil {
		return err
	}
	said, err := t.output(ctx, "docker", "run", "--rm", "eventworker-worker:local", "version")
	if err != nil {
		return err
	}
	if !strings.HasPrefix(said, "eventworker local ") {
		return fmt.Errorf("the version is not stamped: %q", said)
	}
	size, err := t.output(ctx, "docker", "image", "inspect", "--format", "{{.Config.User}} {{.Size}}", "eventworker-worker:local")
	if err != nil {
		return err
	}
	user, length, _ := strings.Cut(strings.TrimSpace(size), " ")
	if user != "65532:65532" {
		return fmt.Errorf("the image's user is %q", user)
	}
	n, err := strconv.Atoi(length)
	if err != nil {
		return err
	}
	say("%s, %d MB, user %s", strings.TrimSpace(said), n/1_000_000, user)
	if t.official {
		return nil // its Go may be another than the one here
	}
	return t.reproduced(ctx)
}

// reproduced holds the program in the image against one that was built outside of it.
func (t *test) reproduced(ctx context.Context) error {
	id, err := t.output(ctx, "docker", "create", "eventworker-worker:local")
	if err != nil {
		return err
	}
	id = strings.TrimSpace(id)
	inside := t.path("eventworker-of-the-image")
	if _, err := t.output(ctx, "docker", "cp", id+":/usr/local/bin/eventworker", inside); err != nil {
		return err
	}
	if _, err := t.output(ctx, "docker", "rm", id); err != nil {
		return err
	}
	a, err := os.ReadFile(inside)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(t.path("eventworker"))
	if err != nil {
		return err
	}
	if !bytes.Equal(a, b) {
		return errors.New("the program in the image differs from the one that was built here with the same flags: the build is not reproducible")
	}
	say("the program is byte for byte the one that is built outside of the image")
	return nil
}

// up starts everything but the profiles and waits until the worker is healthy.
func (t *test) up(ctx context.Context) error {
	if err := t.composed(ctx, "up", "-d"); err != nil {
		return err
	}
	for _, service := range []string{"kafka", "redis", "fake-insights", "worker"} {
		if err := t.healthy(ctx, service); err != nil {
			return err
		}
	}
	return nil
}

// container is the id of a service's container.
func (t *test) container(ctx context.Context, service string) (string, error) {
	// The older program lists stopped containers always, the newer ones with -a only.
	args := []string{"ps", "-q", service}
	if len(t.compose) > 1 {
		args = []string{"ps", "-aq", service}
	}
	out, err := t.composedOutput(ctx, args...)
	id := strings.TrimSpace(out)
	if err == nil && (id == "" || strings.Contains(id, "\n")) {
		err = fmt.Errorf("service %s has the containers %q", service, id)
	}
	return id, err
}

// healthy waits for a service's own health check.
func (t *test) healthy(ctx context.Context, service string) error {
	id, err := t.container(ctx, service)
	if err != nil {
		return err
	}
	err = until(ctx, func(ctx context.Context) error {
		state, err := t.output(ctx, "docker", "inspect", "--format", "{{.State.Status}} {{with .State.Health}}{{.Status}}{{end}}", id)
		if state = strings.TrimSpace(state); err == nil && state != "running healthy" {
			err = errors.New("it is " + state)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("service %s: %w", service, err)
	}
	return nil
}

// ended waits until a service's container has ended well.
func (t *test) ended(ctx context.Context, service string) error {
	id, err := t.container(ctx, service)
	if err != nil {
		return err
	}
	code, err := t.output(ctx, "docker", "wait", id)
	if err == nil && strings.TrimSpace(code) != "0" {
		err = fmt.Errorf("service %s ended with %s", service, strings.TrimSpace(code))
	}
	return err
}

// takeDown removes everything that compose made, even when the run was interrupted, and looks whether
// that is so.
func (t *test) takeDown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	return step("down -v", func() error {
		if err := t.composed(ctx, "--profile", "metrics", "--profile", "scale", "down", "-v", "--remove-orphans"); err != nil {
			return err
		}
		for _, list := range [][]string{{"ps", "-aq"}, {"volume", "ls", "-q"}, {"network", "ls", "-q"}} {
			left, err := t.output(ctx, "docker", append(list, "--filter", "label=com.docker.compose.project="+project)...)
			if err == nil && left != "" {
				err = fmt.Errorf("docker %s still lists %q", strings.Join(list, " "), left)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// tellLogs prints what the services last said, after a failure.
func (t *test) tellLogs() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := t.command(ctx, t.compose[0], append(slices.Clone(t.compose[1:]), "logs", "--no-color", "--tail=25")...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	_ = cmd.Run() // there is nothing to be done about it
	fmt.Printf("\nwhat the services said last:\n%s\n", out.String())
}

// describe lists how to reach the stack by hand.
func (t *test) describe() string {
	var b strings.Builder
	for _, v := range t.env {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "DOCKER_") || strings.HasPrefix(name, "COMPOSE_") || slices.Contains(portNames, name) {
			fmt.Fprintf(&b, "export %s\n", v)
		}
	}
	return b.String()
}
