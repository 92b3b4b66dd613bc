package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	operatorv1 "github.com/openshift/api/operator/v1"
	"github.com/openshift/library-go/pkg/controller/factory"
	"github.com/openshift/library-go/pkg/operator/encryption"
	"github.com/openshift/library-go/pkg/operator/encryption/controllers/migrators"
	"github.com/openshift/library-go/pkg/operator/encryption/deployer"
	"github.com/openshift/library-go/pkg/operator/encryption/statemachine"
	"github.com/openshift/library-go/pkg/operator/events"
	"github.com/openshift/library-go/pkg/operator/resourcesynccontroller"
	"github.com/openshift/library-go/pkg/operator/v1helpers"
)

// operator is one of the three: its controllers, its status, and the pods of its operand.
type operator struct {
	name     string
	nodes    []string
	encrypts []schema.GroupResource
	revision int // newest

	spec         *operatorv1.OperatorSpec
	client       v1helpers.OperatorClient
	controllers  []controller
	deployer     statemachine.Deployer
	precondition bool
	trouble      error // instead of the precondition's answer
	arguments    map[string]any

	said said
}

// controller has the name under which its doings are written down.
type controller struct {
	name string
	factory.Controller
}

// The order of the first five is that of encryption.NewControllers.
var controllerNames = []string{"key", "state", "prune", "migration", "condition", "sync"}

func (c *cluster) addOperator(name, resources string, nodes int) error {
	o := &operator{name: name, encrypts: parseResources(resources), revision: 1, precondition: true}
	o.spec = &operatorv1.OperatorSpec{ManagementState: operatorv1.Managed}
	o.client = v1helpers.NewFakeOperatorClient(o.spec, &operatorv1.OperatorStatus{}, nil)
	for i := 1; i <= nodes; i++ {
		o.nodes = append(o.nodes, fmt.Sprintf("node-%d", i))
		if err := c.kube.Tracker().Add(newPod(o.name, "apiserver", i, 1, "ready")); err != nil {
			return err
		}
	}
	caches := v1helpers.NewFakeKubeInformersForNamespaces(map[string]informers.SharedInformerFactory{managed: c.kubeCaches, name: c.kubeCaches})
	core := c.kube.CoreV1()
	var err error
	if o.deployer, err = deployer.NewRevisionLabelPodDeployer("revision", name, caches, core, core, o); err != nil {
		return err
	}
	recorder := events.NewInMemoryRecorder(name, nil)
	copier := resourcesynccontroller.NewResourceSyncController(name, o.client, caches, core, core, recorder)
	migrator := migrators.NewKubeStorageVersionMigrator(c.migrations, c.migrationCaches.Migration().V1alpha1(), storedVersions{})
	five, err := encryption.NewControllers(name, nil, o, o.deployer, migrator, o.client, c.config.ConfigV1().APIServers(),
		c.configCaches.Config().V1().APIServers(), caches, core, recorder, copier)
	if err != nil {
		return err
	}
	for i, one := range append(five, copier) {
		o.controllers = append(o.controllers, controller{controllerNames[i], one})
	}
	c.operators = append(c.operators, o)
	return nil
}

// What the controllers ask of their operator.

func (o *operator) EncryptedGRs() []schema.GroupResource { return o.encrypts }

func (o *operator) ShouldRunEncryptionControllers() (bool, error) { return o.precondition, o.trouble }

func (o *operator) MasterNodeNames() ([]string, error) { return o.nodes, nil }

func (o *operator) AddEventHandler(cache.ResourceEventHandler) []cache.InformerSynced { return nil }

// sync calls a controller once; what it says is in o.said then.
func (o *operator) sync(one controller) (err error, panicked string) {
	o.said = said{}
	defer func() {
		if cause := recover(); cause != nil {
			panicked = fmt.Sprint(cause)
		}
	}()
	return one.Sync(context.Background(), &o.said), ""
}

// said is a controller's surroundings: it notes events, and requests to be called again.
type said struct {
	workqueue.RateLimitingInterface
	lines []line
}

func (s *said) Queue() workqueue.RateLimitingInterface      { return s }
func (s *said) QueueKey() string                            { return "key" }
func (s *said) Recorder() events.Recorder                   { return s }
func (s *said) ForComponent(string) events.Recorder         { return s }
func (s *said) WithComponentSuffix(string) events.Recorder  { return s }
func (s *said) WithContext(context.Context) events.Recorder { return s }
func (s *said) ComponentName() string                       { return "" }
func (s *said) Shutdown()                                   {}

func (s *said) Event(reason, text string) {
	s.lines = append(s.lines, line{What: "event", Op: "Normal", Name: reason, Text: text})
}

func (s *said) Warning(reason, text string) {
	s.lines = append(s.lines, line{What: "event", Op: "Warning", Name: reason, Text: text})
}

func (s *said) Eventf(reason, format string, args ...any) {
	s.Event(reason, fmt.Sprintf(format, args...))
}

func (s *said) Warningf(reason, format string, args ...any) {
	s.Warning(reason, fmt.Sprintf(format, args...))
}

func (s *said) AddAfter(_ any, after time.Duration) {
	s.lines = append(s.lines, line{What: "requeue", Text: after.String()})
}

// storedVersions answers the migrator's question which version of a resource is stored.
type storedVersions struct {
	discovery.ServerResourcesInterface
}

func (storedVersions) ServerPreferredResources() ([]*metav1.APIResourceList, error) {
	lists := []*metav1.APIResourceList{}
	for version, names := range map[string]string{
		"v1":                    "secrets,configmaps",
		"route.openshift.io/v1": "routes",
		"oauth.openshift.io/v1": "oauthaccesstokens,oauthauthorizetokens",
	} {
		list := &metav1.APIResourceList{GroupVersion: version}
		for _, name := range strings.Split(names, ",") {
			list.APIResources = append(list.APIResources, metav1.APIResource{Name: name})
		}
		lists = append(lists, list)
	}
	return lists, nil
}

func parseResources(text string) []schema.GroupResource {
	list := []schema.GroupResource{}
	for _, name := range strings.Split(text, ",") {
		list = append(list, schema.ParseGroupResource(name))
	}
	return list
}
