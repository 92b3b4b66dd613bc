package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	configv1 "github.com/openshift/api/config/v1"
	"github.com/openshift/api/features"
	"github.com/openshift/library-go/pkg/operator/configobserver/featuregates"
	"github.com/openshift/library-go/pkg/operator/encryption/deployer"
	"github.com/openshift/library-go/pkg/operator/encryption/kms"
	"github.com/openshift/library-go/pkg/operator/encryption/observer"
	"github.com/openshift/library-go/pkg/operator/encryption/statemachine"
	"github.com/openshift/library-go/pkg/operator/resourcesynccontroller"
)

// The smaller parts that the controllers' module has beside them.

// configPath is where kube-apiserver finds its config.
const configPath = "/etc/kubernetes/static-pod-resources/secrets/encryption-config/encryption-config"

// secretCache is what the config observer asks for.
type secretCache struct{ secrets corelisters.SecretLister }

func (s secretCache) SecretLister() corelisters.SecretLister              { return s.secrets }
func (secretCache) ResourceSyncer() resourcesynccontroller.ResourceSyncer { return nil }
func (secretCache) PreRunHasSynced() []cache.InformerSynced               { return nil }

// observe calls the config observer once.
func (c *cluster) observe(o *operator) error {
	if err := c.fillCaches(); err != nil {
		return err
	}
	o.said = said{}
	listers := secretCache{c.kubeCaches.Core().V1().Secrets().Lister()}
	arguments, errs := observer.NewEncryptionConfigObserver(o.name, configPath)(listers, &o.said, o.arguments)
	lines := o.said.lines
	for _, err := range errs {
		lines = append(lines, line{What: "error", Text: err.Error()})
	}
	o.arguments = arguments
	for _, l := range append(lines, line{What: "args", Data: arguments}) {
		l.By = "observer"
		if err := c.write(o, l); err != nil {
			return err
		}
	}
	return nil
}

// union asks for the config that all operators' pods run.
func (c *cluster) union() error {
	all := []statemachine.Deployer{}
	for _, o := range c.operators {
		all = append(all, o.deployer)
	}
	c.outside = false
	l := line{By: "union", What: "deployed"}
	secret, converged, err, panicked := askUnion(all)
	switch {
	case panicked != "":
		l.What, l.Text = "panic", panicked
	case err != nil:
		l.What, l.Text = "error", err.Error()
	default:
		l.Text = fmt.Sprintf("converged=%v", converged)
		if secret != nil {
			l.Name, l.Data = secret.Namespace+"/"+secret.Name, configView(secret)
		}
	}
	return c.write(nil, l)
}

func askUnion(all []statemachine.Deployer) (secret *corev1.Secret, converged bool, err error, panicked string) {
	defer func() {
		if cause := recover(); cause != nil {
			panicked = fmt.Sprint(cause)
		}
	}()
	secret, converged, err = deployer.NewUnionRevisionLabelPodDeployer(all...).DeployedEncryptionConfigSecret(context.Background())
	return secret, converged, err, ""
}

// podMount shows what the helper for the plugin's socket adds to a pod.
func (c *cluster) podMount(words []string) error {
	if len(words) != 1 {
		return errMalformed
	}
	known := []configv1.FeatureGateName{features.FeatureGateKMSEncryption}
	access := featuregates.NewHardcodedFeatureGateAccessForTesting(nil, nil, make(chan struct{}), nil)
	switch words[0] {
	case "on":
		access = featuregates.NewHardcodedFeatureGateAccess(known, nil)
	case "off":
		access = featuregates.NewHardcodedFeatureGateAccess(nil, known)
	}
	spec := &corev1.PodSpec{Containers: []corev1.Container{{Name: "kube-apiserver"}, {Name: "other"}}}
	if err := kms.AddKMSPluginVolumeAndMountToPodSpec(spec, "kube-apiserver", access); err != nil {
		return err
	}
	return c.write(nil, line{What: "podspec", Name: "gate " + words[0], Data: spec})
}
