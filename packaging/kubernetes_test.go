package packaging_test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"

	"github.com/caddy-sesame/caddy-sesame/packaging/image"
)

// cluster is what the example makes, of each kind one.
type cluster struct {
	config     corev1.ConfigMap
	secret     corev1.Secret
	deployment appsv1.Deployment
	service    corev1.Service
	budget     policyv1.PodDisruptionBudget
	ingress    networkingv1.Ingress
	policy     networkingv1.NetworkPolicy
}

// readCluster decodes the example into Kubernetes' own types, and allows no field
// that these don't have.
func readCluster(t *testing.T) *cluster {
	t.Helper()
	text, err := os.ReadFile("kubernetes/gateway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	made := new(cluster)
	kinds := map[string]any{
		"v1 ConfigMap": &made.config, "v1 Secret": &made.secret, "v1 Service": &made.service,
		"apps/v1 Deployment": &made.deployment, "policy/v1 PodDisruptionBudget": &made.budget,
		"networking.k8s.io/v1 Ingress": &made.ingress, "networking.k8s.io/v1 NetworkPolicy": &made.policy,
	}
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		var of struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal([]byte(document), &of); err != nil {
			t.Fatal(err)
		}
		object, ok := kinds[of.APIVersion+" "+of.Kind]
		if !ok {
			t.Fatalf("the example has %s %s twice, or shouldn't have it", of.APIVersion, of.Kind)
		}
		if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
			t.Fatalf("%s: %v", of.Kind, err)
		}
		delete(kinds, of.APIVersion+" "+of.Kind)
	}
	if len(kinds) > 0 {
		t.Fatalf("the example lacks %v", slices.Sorted(maps.Keys(kinds)))
	}
	return made
}

// gateway is the one container.
func (c *cluster) gateway(t *testing.T) corev1.Container {
	t.Helper()
	containers := c.deployment.Spec.Template.Spec.Containers
	if len(containers) != 1 {
		t.Fatalf("there are %d containers", len(containers))
	}
	return containers[0]
}

func TestKubernetesSelectsThePodsOfTheDeployment(t *testing.T) {
	t.Parallel()
	made := readCluster(t)
	labels := made.deployment.Spec.Template.Labels
	for what, selector := range map[string]map[string]string{
		"the Deployment":             made.deployment.Spec.Selector.MatchLabels,
		"the Service":                made.service.Spec.Selector,
		"the PodDisruptionBudget":    made.budget.Spec.Selector.MatchLabels,
		"the spread over nodes":      made.deployment.Spec.Template.Spec.TopologySpreadConstraints[0].LabelSelector.MatchLabels,
		"the way to the application": made.policy.Spec.Ingress[0].From[0].PodSelector.MatchLabels,
	} {
		if len(selector) == 0 || !maps.Equal(selector, labels) {
			t.Errorf("%s selects %v, and the pods have %v", what, selector, labels)
		}
	}
	if maps.Equal(made.policy.Spec.PodSelector.MatchLabels, labels) {
		t.Error("the NetworkPolicy is for the gateway, not for the application")
	}
	if made.ingress.Spec.Rules[0].HTTP.Paths[0].Backend.Service.Name != made.service.Name {
		t.Error("the Ingress leads elsewhere")
	}
}

// TestKubernetesKeepsAGatewayServing: in an upgrade, and while nodes are drained.
func TestKubernetesKeepsAGatewayServing(t *testing.T) {
	t.Parallel()
	made := readCluster(t)
	spec := made.deployment.Spec
	if *spec.Replicas != 2 || spec.Strategy.RollingUpdate.MaxUnavailable.IntValue() != 0 || made.budget.Spec.MinAvailable.IntValue() != 1 {
		t.Errorf("replicas %d, %+v, at least %s", *spec.Replicas, spec.Strategy.RollingUpdate, made.budget.Spec.MinAvailable)
	}
	if grace := *spec.Template.Spec.TerminationGracePeriodSeconds; grace <= 10+20 {
		t.Errorf("a pod is killed after %d s, while it may need shutdown_delay and grace_period", grace)
	}
	if !strings.Contains(made.config.Data["Caddyfile"], "shutdown_delay 10s") || !strings.Contains(made.config.Data["Caddyfile"], "grace_period 20s") {
		t.Error("the Caddyfile has other times than this test")
	}
}

func TestKubernetesProbesAskTheGatewaysChecks(t *testing.T) {
	t.Parallel()
	gateway := readCluster(t).gateway(t)
	for what, probe := range map[string]struct {
		*corev1.Probe
		path string
	}{
		"liveness":  {gateway.LivenessProbe, "/_sesame/health"},
		"startup":   {gateway.StartupProbe, "/_sesame/health"},
		"readiness": {gateway.ReadinessProbe, "/_sesame/ready"},
	} {
		if get := probe.HTTPGet; get == nil || get.Path != probe.path || get.Port.StrVal != gateway.Ports[0].Name {
			t.Errorf("%s: %+v", what, get)
		}
	}
	if gateway.Ports[0].ContainerPort != 8080 {
		t.Errorf("the port is %d, and the Caddyfile has 8080", gateway.Ports[0].ContainerPort)
	}
}

func TestKubernetesRunsTheImageAsItsUser(t *testing.T) {
	t.Parallel()
	made := readCluster(t)
	if repository, _, _ := strings.Cut(made.gateway(t).Image, ":"); repository != image.Name {
		t.Errorf("the image is %s", made.gateway(t).Image)
	}
	pod := made.deployment.Spec.Template.Spec.SecurityContext
	if !*pod.RunAsNonRoot || *pod.RunAsUser != image.User || *pod.RunAsGroup != image.User || *pod.FSGroup != image.User {
		t.Errorf("the pod runs as %+v", pod)
	}
}

// TestKubernetesMountsWhatTheCaddyfileReads: each secret at its place, and all
// volumes of the image, since the rest of it is read-only.
func TestKubernetesMountsWhatTheCaddyfileReads(t *testing.T) {
	t.Parallel()
	made := readCluster(t)
	volumes := make(map[string]corev1.Volume)
	for _, volume := range made.deployment.Spec.Template.Spec.Volumes {
		volumes[volume.Name] = volume
	}
	at := make(map[string]corev1.Volume)
	for _, mount := range made.gateway(t).VolumeMounts {
		at[mount.MountPath] = volumes[mount.Name]
	}
	if source := at["/etc/caddy"].ConfigMap; source == nil || source.Name != made.config.Name {
		t.Errorf("the Caddyfile is from %+v", source)
	}
	if source := at["/run/secrets/sesame"].Secret; source == nil || source.SecretName != made.secret.Name {
		t.Errorf("the secrets are from %+v", source)
	}
	for _, dir := range []string{"/data", "/config"} {
		if at[dir].EmptyDir == nil {
			t.Errorf("%s isn't writable", dir)
		}
	}
	var read []string
	for _, match := range secretFile.FindAllStringSubmatch(made.config.Data["Caddyfile"], -1) {
		read = append(read, strings.TrimPrefix(match[1], "sesame/"))
	}
	slices.Sort(read)
	if have := slices.Sorted(maps.Keys(made.secret.StringData)); !slices.Equal(have, read) {
		t.Errorf("the Secret has %q, and the Caddyfile reads %q", have, read)
	}
}
