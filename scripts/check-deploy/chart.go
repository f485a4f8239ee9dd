package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"eventworker/internal/config"
)

const (
	chart     = "deploy/helm/eventworker"
	namespace = "shop"
	// accepted are the values that others are laid over.
	accepted = chart + "/ci/disk.yaml"
	// oldest is the version of Kubernetes that Chart.yaml asks for, newest the last with schemas at hand.
	oldest, newest = "1.31.0", "1.37.0"
	customKinds    = "PodMonitor,PrometheusRule,ScaledObject"
)

// resource is a rendered resource.
type resource map[string]any

func (r resource) kind() string { return fmt.Sprint(r["kind"]) }

// at follows names into a resource; nil where one is missing.
func (r resource) at(names ...string) any {
	var v any = map[string]any(r)
	for _, n := range names {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[n]
	}
	return v
}

// inner is a map inside of a resource; empty where there is none.
func (r resource) inner(names ...string) resource { return asResource(r.at(names...)) }

// watches says whether it is the Deployment of dlq watch.
func (r resource) watches() bool {
	return r.at("metadata", "labels", "app.kubernetes.io/component") == "dead-letters"
}

func asResource(v any) resource {
	m, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	return m
}

// checkChart lints and renders the chart with each set of values, holds what comes of it against the
// schemas of Kubernetes and against what a worker in a cluster needs, and sees the wrong sets refused.
func checkChart(ctx context.Context, c *checks) error {
	helm, err := c.tool(ctx, "helm")
	if err != nil {
		return err
	}
	kubeconform, err := c.tool(ctx, "kubeconform")
	if err != nil {
		return err
	}
	known, err := schemas(ctx, []string{oldest, newest})
	if err != nil {
		return err
	}
	sets, err := filepath.Glob(chart + "/ci/*.yaml")
	if err != nil || len(sets) == 0 {
		return fmt.Errorf("no sets of values in %s/ci: %w", chart, err)
	}
	var custom []resource
	for _, set := range sets {
		if _, err := command(ctx, helm, "lint", "--strict", "--quiet", "--kube-version", newest, "--values", set, chart); err != nil {
			return err
		}
		text, err := command(ctx, helm, "template", "shop", chart, "--namespace", namespace, "--kube-version", newest, "--values", set)
		if err != nil {
			return err
		}
		for _, version := range []string{oldest, newest} {
			if _, err := commandIn(ctx, "", text, kubeconform, "-strict", "-kubernetes-version", version, "-schema-location", known, "-skip", customKinds, "-"); err != nil {
				return fmt.Errorf("%s: %w", set, err)
			}
		}
		resources, err := parse(text)
		if err != nil {
			return fmt.Errorf("%s: %w", set, err)
		}
		if err := c.checkResources(resources); err != nil {
			return fmt.Errorf("%s: %w", set, err)
		}
		for _, r := range resources {
			if strings.Contains(customKinds, r.kind()) {
				custom = append(custom, r)
			}
		}
	}
	say("%d sets of values rendered; valid for Kubernetes %s and %s", len(sets), oldest, newest)
	if err := checkCustom(ctx, custom); err != nil {
		return err
	}
	if err := checkReplayCommand(ctx, helm); err != nil {
		return err
	}
	return checkRefused(ctx, helm)
}

// checkReplayCommand runs the command of the page that renders the replay's Job, as it is printed.
func checkReplayCommand(ctx context.Context, helm string) error {
	const page = "docs/kubernetes.md"
	content, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	printed, err := replayCommand(string(content))
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	if i := slices.Index(printed, "values.yaml"); i >= 0 {
		printed[i] = accepted
	}
	text, err := command(ctx, helm, printed...)
	if err != nil {
		return fmt.Errorf("%s: the command for the replay's Job: %w", page, err)
	}
	resources, err := parse(text)
	if err != nil {
		return err
	}
	if len(resources) != 1 || resources[0].kind() != "Job" {
		return fmt.Errorf("%s: the command for the replay's Job renders:\n%s", page, text)
	}
	if err := checkArgs(resources[0]); err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	return nil
}

// checkArgs sees that the replay's arguments are text, numbers among them written out.
func checkArgs(job resource) error {
	containers, _ := job.at("spec", "template", "spec", "containers").([]any)
	if len(containers) != 1 {
		return fmt.Errorf("%d containers in the replay's Job, want one", len(containers))
	}
	args, _ := asResource(containers[0]).at("args").([]any)
	for _, a := range args {
		if text, ok := a.(string); !ok || strings.Contains(text, "e+0") {
			return fmt.Errorf("the replay's Job has the argument %v, want text, and numbers written out", a)
		}
	}
	return nil
}

// replayCommand is the page's helm template command in words, without the program and what it is piped to.
func replayCommand(page string) ([]string, error) {
	_, after, found := strings.Cut(page, "\nhelm template ")
	line, _, piped := strings.Cut(strings.ReplaceAll(after, "\\\n", " "), " | ")
	if !found || !piped {
		return nil, errors.New("no helm template command that is piped to kubectl")
	}
	words := []string{"template"}
	for w := range strings.FieldsSeq(line) {
		words = append(words, strings.Trim(w, "'"))
	}
	return words, nil
}

func parse(text string) ([]resource, error) {
	var resources []resource
	for d := yaml.NewDecoder(strings.NewReader(text)); ; {
		// Into a plain map: yaml gives maps inside of it the type of the outermost.
		var r map[string]any
		err := d.Decode(&r)
		if errors.Is(err, io.EOF) {
			return resources, nil
		}
		if err != nil {
			return nil, err
		}
		if len(r) > 0 {
			resources = append(resources, r)
		}
	}
}

// checkResources holds one rendering against what a worker needs.
func (c *checks) checkResources(resources []resource) error {
	workloads := 0
	for _, r := range resources {
		switch r.kind() {
		case "ConfigMap":
			text, ok := r.at("data", "eventworker.yaml").(string)
			if !ok {
				continue
			}
			if err := c.checkConfig(text, resources); err != nil {
				return err
			}
		case "Deployment", "StatefulSet":
			if !r.watches() {
				workloads++
			}
			if err := checkPod(r.inner("spec", "template"), true); err != nil {
				return fmt.Errorf("%s: %w", r.kind(), err)
			}
		case "ScaledObject":
			if r.at("spec", "fallback") != nil {
				return errors.New("the ScaledObject has a fallback: pods would come or go while KEDA cannot see Kafka")
			}
		case "Job":
			if err := checkPod(r.inner("spec", "template"), false); err != nil {
				return fmt.Errorf("the replay's Job: %w", err)
			}
			if err := checkArgs(r); err != nil {
				return err
			}
		}
	}
	if workloads != 1 {
		return fmt.Errorf("%d workloads of workers, want one", workloads)
	}
	return nil
}

// checkConfig has the worker's own rules judge the configuration, and compares the drain with the
// grace period.
func (c *checks) checkConfig(text string, resources []resource) error {
	file := filepath.Join(c.work, "eventworker.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	loaded, err := config.Load(config.Sources{File: file})
	if err != nil {
		return err
	}
	for name, a := range loaded.Insights.Applications {
		if a.APIKeyFile == "" {
			return fmt.Errorf("application %s has no key file", name)
		}
	}
	for _, r := range resources {
		if k := r.kind(); k != "Deployment" && k != "StatefulSet" || r.watches() {
			continue
		}
		grace, ok := r.at("spec", "template", "spec", "terminationGracePeriodSeconds").(int)
		if !ok || float64(grace) < loaded.DrainTimeout.Seconds()+10 {
			return fmt.Errorf("terminationGracePeriodSeconds is %d, drain_timeout %s: want 10 s more", grace, loaded.DrainTimeout)
		}
		if disk := loaded.Store.Kind == "disk"; disk != (r.kind() == "StatefulSet") {
			return fmt.Errorf("a %s with the %s store", r.kind(), loaded.Store.Kind)
		}
	}
	return nil
}

// checkPod holds a pod against the restricted standard of pod security, and a worker's against what
// its probes have to be.
func checkPod(template resource, worker bool) error {
	spec := template.inner("spec")
	if spec.at("automountServiceAccountToken") != false {
		return errors.New("a token of the service account is mounted")
	}
	if spec.at("securityContext", "runAsNonRoot") != true || spec.at("securityContext", "seccompProfile", "type") != "RuntimeDefault" {
		return errors.New("the pod may run as root, or without seccomp")
	}
	containers, ok := spec.at("containers").([]any)
	if !ok || len(containers) != 1 {
		return errors.New("want one container")
	}
	one := asResource(containers[0])
	dropped, err := json.Marshal(one.at("securityContext", "capabilities", "drop"))
	if err != nil {
		return err
	}
	if string(dropped) != `["ALL"]` || one.at("securityContext", "allowPrivilegeEscalation") != false || one.at("securityContext", "readOnlyRootFilesystem") != true {
		return errors.New("the container has rights that it does not need")
	}
	if one.at("resources", "limits", "memory") == nil || one.at("resources", "requests", "cpu") == nil {
		return errors.New("no limit of memory, or no request of CPU")
	}
	variables, _ := one.at("env").([]any)
	for _, v := range variables {
		if name := fmt.Sprint(asResource(v).at("name")); strings.HasPrefix(name, "EVENTWORKER_") {
			return fmt.Errorf("the configuration stands in a variable: %s", name)
		}
	}
	if !worker {
		return nil
	}
	for probe, path := range map[string]string{"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"} {
		if one.at(probe, "httpGet", "path") != path {
			return fmt.Errorf("%s does not ask %s", probe, path)
		}
	}
	return nil
}

// checkCustom holds custom resources against the definitions of their operators.
func checkCustom(ctx context.Context, custom []resource) error {
	kinds := map[string]bool{}
	for _, r := range custom {
		kinds[r.kind()] = true
	}
	if want := strings.Count(customKinds, ",") + 1; len(kinds) != want {
		return fmt.Errorf("the sets of values render %v, want all of %s", kinds, customKinds)
	}
	node, err := nodeModules(ctx)
	if err != nil {
		return err
	}
	list, err := json.Marshal(custom)
	if err != nil {
		return err
	}
	if _, err := commandIn(ctx, node, string(list), "node", "crds.mjs"); err != nil {
		return err
	}
	say("%d custom resources are valid (%s)", len(custom), customKinds)
	return nil
}
