package main

import (
	"context"
	"errors"
	"io"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
	migrationfake "sigs.k8s.io/kube-storage-version-migrator/pkg/clients/clientset/fake"
	migrationinformers "sigs.k8s.io/kube-storage-version-migrator/pkg/clients/informer"

	configv1 "github.com/openshift/api/config/v1"
	configfake "github.com/openshift/client-go/config/clientset/versioned/fake"
	configinformers "github.com/openshift/client-go/config/informers/externalversions"
)

// managed is where key secrets and target configs live.
const managed = "openshift-config-managed"

// cluster is what one story acts on.
type cluster struct {
	kube       *fake.Clientset
	config     *configfake.Clientset
	migrations *migrationfake.Clientset

	kubeCaches      informers.SharedInformerFactory
	configCaches    configinformers.SharedInformerFactory
	migrationCaches migrationinformers.SharedInformerFactory

	operators []*operator
	refused   map[string]string         // error texts by call, such as "list secrets"
	outside   bool                      // the story acts, not a controller: nothing is refused
	kept      map[string]*corev1.Secret // what "save" laid aside

	out     io.Writer
	step    int
	auto    bool // the controllers run after each step
	shown   map[string]string
	changes int // of observables, so far
}

// The fakes are the simple ones: the others keep track of who owns which field, which no controller here asks for, and
// take three times as long.
func newCluster(out io.Writer) *cluster {
	c := &cluster{
		kube:       fake.NewSimpleClientset(),
		config:     configfake.NewSimpleClientset(&configv1.APIServer{ObjectMeta: metav1.ObjectMeta{Name: "cluster"}}),
		migrations: migrationfake.NewSimpleClientset(),
		refused:    map[string]string{},
		kept:       map[string]*corev1.Secret{},
		shown:      map[string]string{},
		out:        out,
		auto:       true,
	}
	c.kubeCaches = informers.NewSharedInformerFactory(c.kube, 0)
	c.configCaches = configinformers.NewSharedInformerFactory(c.config, 0)
	c.migrationCaches = migrationinformers.NewSharedInformerFactory(c.migrations, 0)
	c.kube.PrependReactor("delete", "secrets", c.markOrDelete)
	c.kube.PrependReactor("update", "secrets", c.deleteWithLastFinalizer)
	for _, client := range []*kubetesting.Fake{&c.kube.Fake, &c.config.Fake, &c.migrations.Fake} {
		client.PrependReactor("*", "*", c.refuse)
	}
	return c
}

// markOrDelete and deleteWithLastFinalizer are the API server's rules for finalizers, which the fake does not have.
func (c *cluster) markOrDelete(action kubetesting.Action) (bool, runtime.Object, error) {
	kind := action.GetResource()
	found, err := c.kube.Tracker().Get(kind, action.GetNamespace(), action.(kubetesting.DeleteAction).GetName())
	if err != nil {
		return false, nil, nil // the fake says what is wrong
	}
	secret := found.(*corev1.Secret).DeepCopy()
	switch {
	case len(secret.Finalizers) == 0:
		return false, nil, nil
	case secret.DeletionTimestamp != nil:
		return true, nil, nil
	}
	now := metav1.Now()
	secret.DeletionTimestamp = &now
	return true, nil, c.kube.Tracker().Update(kind, secret, action.GetNamespace())
}

func (c *cluster) deleteWithLastFinalizer(action kubetesting.Action) (bool, runtime.Object, error) {
	secret := action.(kubetesting.UpdateAction).GetObject().(*corev1.Secret)
	if secret.DeletionTimestamp == nil || len(secret.Finalizers) > 0 {
		return false, nil, nil
	}
	return true, secret, c.kube.Tracker().Delete(action.GetResource(), action.GetNamespace(), secret.Name)
}

func (c *cluster) refuse(action kubetesting.Action) (bool, runtime.Object, error) {
	text, is := c.refused[action.GetVerb()+" "+action.GetResource().Resource]
	if !is || c.outside {
		return false, nil, nil
	}
	return true, nil, errors.New(text)
}

// asOutsider does something that no refusal of the story reaches.
func (c *cluster) asOutsider(act func() error) error {
	before := c.outside
	c.outside = true
	defer func() { c.outside = before }()
	return act()
}

// fillCaches makes every cache show what there is now.
func (c *cluster) fillCaches() error {
	return c.asOutsider(func() error {
		ctx, all := context.Background(), metav1.ListOptions{}
		secrets, err := c.kube.CoreV1().Secrets("").List(ctx, all)
		if err != nil {
			return err
		}
		specs, err := c.config.ConfigV1().APIServers().List(ctx, all)
		if err != nil {
			return err
		}
		migrations, err := c.migrations.MigrationV1alpha1().StorageVersionMigrations().List(ctx, all)
		if err != nil {
			return err
		}
		return errors.Join(
			fill(c.kubeCaches.Core().V1().Secrets().Informer(), secrets.Items),
			fill(c.configCaches.Config().V1().APIServers().Informer(), specs.Items),
			fill(c.migrationCaches.Migration().V1alpha1().StorageVersionMigrations().Informer(), migrations.Items),
		)
	})
}

func fill[T any](informer cache.SharedIndexInformer, items []T) error {
	objects := make([]any, len(items))
	for i := range items {
		objects[i] = &items[i]
	}
	return informer.GetIndexer().Replace(objects, "")
}
