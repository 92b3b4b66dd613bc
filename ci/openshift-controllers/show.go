package main

import (
	"context"
	"encoding/json"
	"sort"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// seen is something that can be seen of the cluster, at one moment.
type seen struct {
	operator *operator
	what     string
	name     string
	value    any
}

// show writes what looks otherwise than when it was last called.
func (c *cluster) show(by string) error {
	now, err := c.look()
	if err != nil {
		return err
	}
	texts := map[string]string{}
	for id, s := range now {
		text, err := json.Marshal(s.value)
		if err != nil {
			return err
		}
		texts[id] = string(text)
	}
	ids := []string{}
	for id := range texts {
		ids = append(ids, id)
	}
	for id := range c.shown {
		if _, is := texts[id]; !is {
			ids = append(ids, id)
		}
	}
	sort.Strings(ids)
	for _, id := range ids {
		old, was := c.shown[id]
		text, is := texts[id]
		if was && is && old == text {
			continue
		}
		c.changes++
		s := now[id]
		l := line{By: by, What: s.what, Op: "changed", Name: s.name, Data: s.value}
		switch {
		case !is:
			part := strings.SplitN(id, "|", 4)
			s.operator = c.named(part[2])
			l = line{By: by, What: part[1], Op: "gone", Name: part[3]}
		case !was:
			l.Op = "new"
		}
		if err := c.write(s.operator, l); err != nil {
			return err
		}
	}
	c.shown = texts
	return nil
}

func (c *cluster) named(name string) *operator {
	for _, o := range c.operators {
		if o.name == name {
			return o
		}
	}
	return nil
}

// look collects all that can be seen, under ids whose order is that of the lines.
func (c *cluster) look() (map[string]seen, error) {
	all := map[string]seen{}
	err := c.asOutsider(func() error {
		for _, o := range c.operators {
			if err := c.lookAt(o, all); err != nil {
				return err
			}
		}
		migrations, err := c.migrations.MigrationV1alpha1().StorageVersionMigrations().List(context.Background(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, m := range migrations.Items {
			state := "running"
			for _, condition := range m.Status.Conditions {
				if condition.Status == corev1.ConditionTrue {
					state = strings.ToLower(string(condition.Type))
				}
			}
			value := map[string]string{"writeKey": m.Annotations[prefix+"write-key"], "version": m.Spec.Resource.Version, "state": state}
			note(all, 3, seen{nil, "migration", m.Name, value})
		}
		return nil
	})
	return all, err
}

func (c *cluster) lookAt(o *operator, all map[string]seen) error {
	ctx := context.Background()
	keys, err := c.kube.CoreV1().Secrets(managed).List(ctx, metav1.ListOptions{LabelSelector: prefix + "component=" + o.name})
	if err != nil {
		return err
	}
	for _, secret := range keys.Items {
		note(all, 1, seen{o, "key", secret.Name[strings.LastIndex(secret.Name, "-")+1:], keyView(&secret)})
	}
	if target, err := c.kube.CoreV1().Secrets(managed).Get(ctx, o.target(), metav1.GetOptions{}); err == nil {
		note(all, 2, seen{o, "config", "target", configView(target)})
	}
	if copied, err := c.kube.CoreV1().Secrets(o.name).Get(ctx, configName, metav1.GetOptions{}); err == nil {
		note(all, 2, seen{o, "copy", "operand", configView(copied)})
	}
	_, status, _, err := o.client.GetOperatorState()
	if err != nil {
		return err
	}
	for _, condition := range status.Conditions {
		value := map[string]string{"status": string(condition.Status)}
		if condition.Reason != "" || condition.Message != "" {
			value["reason"], value["message"] = condition.Reason, condition.Message
		}
		note(all, 4, seen{o, "condition", condition.Type, value})
	}
	return nil
}

func note(all map[string]seen, order int, s seen) {
	operator := ""
	if s.operator != nil {
		operator = s.operator.name
	}
	all[strings.Join([]string{strconv.Itoa(order), s.what, operator, s.name}, "|")] = s
}
