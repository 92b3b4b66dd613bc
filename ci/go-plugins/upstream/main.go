// Command upstream serves the test plugin that k8s.io/apiserver's own tests use, at the socket it is given.
package main

import (
	"log"
	"os"
	"os/signal"
	"syscall"
	"testing"

	plugin "k8s.io/apiserver/pkg/storage/value/encrypt/envelope/testing/v2"
)

// tb is what the plugin wants of a test: somewhere to complain.
type tb struct{ testing.TB }

func (tb) Errorf(format string, args ...any) { log.Printf(format, args...) }
func (tb) Fatalf(format string, args ...any) { log.Fatalf(format, args...) }
func (tb) Cleanup(func())                    {}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: upstream SOCKET")
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	served := plugin.NewBase64Plugin(tb{}, os.Args[1])
	<-stop
	served.CleanUp()
}
