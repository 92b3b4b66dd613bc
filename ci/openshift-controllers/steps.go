package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1 "github.com/openshift/api/config/v1"
	operatorv1 "github.com/openshift/api/operator/v1"
)

// errMalformed is what a step with too few or wrong words comes to.
var errMalformed = errors.New("malformed step")

// do carries out a step. It is about the first operator, unless "@PART" before it names another one by a part of its
// name.
//
//	component NAME RESOURCES NODES                    an operator; only before other steps
//	spec TYPE|-                                       what everybody is asked for; "-" takes it back
//	kms ARN                                           the kms block that this API has
//	resources LIST, managed STATE, external yes|no|error TEXT, reason TEXT, rawoverride JSON
//	rollout [NODES], node I revision R, node I HOW, extrapod I REVISION HOW
//	migrator succeeds|runs|loses RESOURCE, migrator fails RESOURCE AGE TEXT
//	key N …, target …, deployed …, copy …             edits of a secret: see edit
//	fail VERB RESOURCE TEXT, fail off                 calls that are refused
//	complete, settle, auto on|off, only CONTROLLER    who runs
//	dump N|target|copy, config NAME, observe, union, podmount on|off|unobserved
func (c *cluster) do(words []string) error {
	if words[0] == "component" {
		if len(words) != 4 {
			return errMalformed
		}
		nodes, err := strconv.Atoi(words[3])
		if err != nil {
			return errMalformed
		}
		return c.addOperator(words[1], words[2], nodes)
	}
	if words[0] == "podmount" {
		return c.podMount(words[1:])
	}
	if len(c.operators) == 0 {
		return errors.New("no component yet")
	}
	o := c.operators[0]
	if part, is := strings.CutPrefix(words[0], "@"); is {
		for _, other := range c.operators {
			if strings.Contains(other.name, part) {
				o = other
			}
		}
		words = words[1:]
	}
	if len(words) == 0 || len(words) <= arguments[words[0]] {
		return errMalformed
	}
	rest := func(n int) string { return strings.Join(words[n:], " ") }
	ctx := context.Background()
	switch words[0] {
	case "settle":
	case "complete":
		return c.complete()
	case "auto":
		c.auto = words[1] == "on"
	case "only":
		return c.only(o, words[1])
	case "spec":
		return c.changeSpec(ctx, func(spec *configv1.APIServerEncryption) {
			spec.Type = configv1.EncryptionType(strings.Trim(words[1], "-"))
		})
	case "kms":
		return c.changeSpec(ctx, func(spec *configv1.APIServerEncryption) {
			spec.KMS = &configv1.KMSConfig{Type: configv1.AWSKMSProvider, AWS: &configv1.AWSKMSConfig{KeyARN: words[1], Region: "us-east-1"}}
		})
	case "resources":
		o.encrypts = parseResources(words[1])
	case "managed":
		o.spec.ManagementState = operatorv1.ManagementState(words[1])
	case "external":
		o.precondition, o.trouble = words[1] == "yes", nil
		if words[1] == "error" {
			o.trouble = errors.New(rest(2))
		}
	case "reason":
		o.spec.UnsupportedConfigOverrides.Raw = fmt.Appendf(nil, `{"encryption":{"reason":%q}}`, rest(1))
	case "rawoverride":
		o.spec.UnsupportedConfigOverrides.Raw = []byte(rest(1))
	case "fail":
		c.refused = map[string]string{}
		if words[1] == "off" {
			return nil
		}
		if len(words) < 4 {
			return errMalformed
		}
		c.refused[words[1]+" "+words[2]] = rest(3)
	case "rollout":
		nodes := len(o.nodes)
		if len(words) > 1 {
			var err error
			if nodes, err = strconv.Atoi(words[1]); err != nil {
				return errMalformed
			}
		}
		return c.rollOut(o, nodes)
	case "node":
		return c.movePod(o, words[1], words[2:])
	case "extrapod":
		return c.addPod(ctx, o, words[1:])
	case "migrator":
		return c.migrate(ctx, words[1], words[2:])
	case "key":
		return c.edit(ctx, o, managed, o.key(words[1]), words[2:])
	case "target":
		return c.edit(ctx, o, managed, o.target(), words[1:])
	case "deployed":
		return c.edit(ctx, o, o.name, o.revisioned(), words[1:])
	case "copy":
		return c.edit(ctx, o, o.name, configName, words[1:])
	case "dump":
		return c.dump(ctx, o, words[1])
	case "config":
		return c.writeConfig(ctx, o, words[1])
	case "observe":
		return c.observe(o)
	case "union":
		return c.union()
	default:
		return errors.New("unknown step")
	}
	return nil
}

// arguments is how many words a step must have after its first.
var arguments = map[string]int{
	"auto": 1, "only": 1, "spec": 1, "kms": 1, "resources": 1, "managed": 1, "external": 1, "reason": 1, "rawoverride": 1,
	"fail": 1, "node": 2, "extrapod": 3, "migrator": 2, "key": 2, "target": 1, "deployed": 1, "copy": 1, "dump": 1, "config": 1,
}

func (c *cluster) changeSpec(ctx context.Context, change func(*configv1.APIServerEncryption)) error {
	api := c.config.ConfigV1().APIServers()
	object, err := api.Get(ctx, "cluster", metav1.GetOptions{})
	if err != nil {
		return err
	}
	change(&object.Spec.Encryption)
	_, err = api.Update(ctx, object, metav1.UpdateOptions{})
	return err
}

// only calls one controller once.
func (c *cluster) only(o *operator, name string) error {
	for _, one := range o.controllers {
		if one.name == name {
			c.outside = false
			return c.sync(o, one, 1, nil)
		}
	}
	return errors.New("no such controller")
}

// Names of an operator's secrets.

func (o *operator) target() string           { return configName + "-" + o.name }
func (o *operator) key(number string) string { return "encryption-key-" + o.name + "-" + number }
func (o *operator) revisioned() string       { return fmt.Sprintf("%s-%d", configName, o.revision) }

func (c *cluster) dump(ctx context.Context, o *operator, what string) error {
	namespace, name := managed, o.key(what)
	switch what {
	case "target":
		name = o.target()
	case "copy":
		namespace, name = o.name, configName
	}
	secret, err := c.kube.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	return c.write(nil, line{What: "object", Name: secret.Name, Data: objectView(secret)})
}

func (c *cluster) writeConfig(ctx context.Context, o *operator, as string) error {
	var target *corev1.Secret
	target, err := c.kube.CoreV1().Secrets(managed).Get(ctx, o.target(), metav1.GetOptions{})
	if err != nil {
		return err
	}
	text, err := configText(target)
	if err != nil {
		return err
	}
	return c.write(nil, line{What: "text", Name: as, Data: text})
}
