package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	migrationv1alpha1 "sigs.k8s.io/kube-storage-version-migrator/pkg/apis/migration/v1alpha1"
)

// What no controller of the module does is done by the story: revisions, pods and migrations move when it says so.

func newPod(namespace, name string, node, revision int, how string) *corev1.Pod {
	p := &corev1.Pod{Spec: corev1.PodSpec{NodeName: fmt.Sprintf("node-%d", node)}}
	p.Namespace, p.Name = namespace, fmt.Sprintf("%s-node-%d", name, node)
	p.Labels = map[string]string{"apiserver": "true", "revision": strconv.Itoa(revision)}
	ready := corev1.ConditionFalse
	p.Status.Phase = corev1.PodRunning
	switch how {
	case "ready":
		ready = corev1.ConditionTrue
	case "pending":
		p.Status.Phase = corev1.PodPending
	case "failed":
		p.Status.Phase = corev1.PodFailed
	case "succeeded":
		p.Status.Phase = corev1.PodSucceeded
	case "unknown":
		p.Status.Phase = corev1.PodUnknown
	}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}
	return p
}

// rolledOut tells whether the newest revision has what the operand's copy of the config says.
func (c *cluster) rolledOut(o *operator) bool {
	data := func(name string) map[string][]byte {
		secret, err := c.kube.CoreV1().Secrets(o.name).Get(context.Background(), name, metav1.GetOptions{})
		if err != nil {
			return nil
		}
		return secret.Data
	}
	return reflect.DeepEqual(data(configName), data(o.revisioned()))
}

// rollOut makes the operand's copy a revision, unless it is one, and lets the first nodes run the newest.
func (c *cluster) rollOut(o *operator, nodes int) error {
	if !c.rolledOut(o) {
		o.revision++
		secrets := c.kube.CoreV1().Secrets(o.name)
		shown := any("no encryption config")
		if copied, err := secrets.Get(context.Background(), configName, metav1.GetOptions{}); err == nil {
			shown = configView(copied)
			revision := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: o.revisioned(), Namespace: o.name}, Data: copied.Data}
			if _, err := secrets.Create(context.Background(), revision, metav1.CreateOptions{}); err != nil {
				return err
			}
		}
		l := line{By: "world", What: "revision", Name: strconv.Itoa(o.revision), Data: shown}
		if err := c.write(o, l); err != nil {
			return err
		}
	}
	for i := 1; i <= nodes; i++ {
		if err := c.movePod(o, strconv.Itoa(i), []string{"revision", strconv.Itoa(o.revision)}); err != nil {
			return err
		}
	}
	return nil
}

// movePod puts a node's pod into a phase, or onto a revision, or takes it away.
func (c *cluster) movePod(o *operator, node string, how []string) error {
	number, err := strconv.Atoi(node)
	if err != nil {
		return errMalformed
	}
	ctx, api := context.Background(), c.kube.CoreV1().Pods(o.name)
	if how[0] == "gone" {
		return api.Delete(ctx, "apiserver-node-"+node, metav1.DeleteOptions{})
	}
	revision, phase := o.revision, how[0]
	old, missing := api.Get(ctx, "apiserver-node-"+node, metav1.GetOptions{})
	if missing == nil {
		if revision, err = strconv.Atoi(old.Labels["revision"]); err != nil {
			return err
		}
	}
	if how[0] == "revision" {
		if len(how) < 2 {
			return errMalformed
		}
		if revision, err = strconv.Atoi(how[1]); err != nil {
			return errMalformed
		}
		phase = "ready"
	}
	pod := newPod(o.name, "apiserver", number, revision, phase)
	if missing != nil {
		_, err = api.Create(ctx, pod, metav1.CreateOptions{})
	} else {
		_, err = api.Update(ctx, pod, metav1.UpdateOptions{})
	}
	return err
}

// addPod puts a second pod on a node: its number, a revision, a phase.
func (c *cluster) addPod(ctx context.Context, o *operator, words []string) error {
	node, err := strconv.Atoi(words[0])
	if err != nil {
		return errMalformed
	}
	revision, err := strconv.Atoi(words[1])
	if err != nil {
		return errMalformed
	}
	pod := newPod(o.name, "old-apiserver", node, revision, words[2])
	api := c.kube.CoreV1().Pods(o.name)
	_ = api.Delete(ctx, pod.Name, metav1.DeleteOptions{}) // there need not be one
	_, err = api.Create(ctx, pod, metav1.CreateOptions{})
	return err
}

// migrate moves a migration on, as the migrator would.
func (c *cluster) migrate(ctx context.Context, how string, words []string) error {
	resource := parseResources(words[0])[0]
	group := resource.Group
	if group == "" {
		group = "core"
	}
	api := c.migrations.MigrationV1alpha1().StorageVersionMigrations()
	name := "encryption-migration-" + group + "-" + resource.Resource
	if how == "loses" {
		return api.Delete(ctx, name, metav1.DeleteOptions{})
	}
	migration, err := api.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	condition := migrationv1alpha1.MigrationCondition{Status: corev1.ConditionTrue, LastUpdateTime: metav1.Now()}
	switch how {
	case "succeeds":
		condition.Type = migrationv1alpha1.MigrationSucceeded
	case "runs":
		condition.Type = migrationv1alpha1.MigrationRunning
	case "fails":
		if len(words) < 2 {
			return errMalformed
		}
		age, err := time.ParseDuration(words[1])
		if err != nil {
			return err
		}
		condition.Type, condition.Message = migrationv1alpha1.MigrationFailed, strings.Join(words[2:], " ")
		condition.LastUpdateTime = metav1.NewTime(time.Now().Add(-age))
	default:
		return errors.New("unknown end of a migration")
	}
	migration.Status.Conditions = []migrationv1alpha1.MigrationCondition{condition}
	_, err = api.Update(ctx, migration, metav1.UpdateOptions{})
	return err
}

// finishMigrations lets every migration that has said nothing yet succeed.
func (c *cluster) finishMigrations() error {
	ctx := context.Background()
	migrations, err := c.migrations.MigrationV1alpha1().StorageVersionMigrations().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, m := range migrations.Items {
		if len(m.Status.Conditions) > 0 {
			continue
		}
		resource := strings.TrimSuffix(m.Spec.Resource.Resource+"."+m.Spec.Resource.Group, ".")
		if err := c.migrate(ctx, "succeeds", []string{resource}); err != nil {
			return err
		}
		if err := c.show("world"); err != nil {
			return err
		}
	}
	return nil
}
