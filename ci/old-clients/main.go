// Command old-client calls a KMS v2 plugin as an old API server does: by that server's own client code, whose version
// the module file beside this one names (v0.27/go.mod, v0.31/go.mod).
//
//	old-client ENDPOINT ROUNDS
//
// A round is Status, Encrypt of 32 random bytes, and Decrypt of what came. One runs alone, then ROUNDS at once on the same
// connection. What was sent and answered is printed as one JSON document; whether that is right, the reader says.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2"
	"k8s.io/kms/pkg/service"
)

const (
	module = "k8s.io/apiserver"
	// What the encryption configuration sets where it says nothing.
	callTimeout = 3 * time.Second
	// The size of the seed that a server encrypts.
	seedSize = 32
)

// round is what came of three calls. After an error the later ones were not made.
type round struct {
	Status    *service.StatusResponse  `json:"status,omitempty"`
	Plaintext []byte                   `json:"plaintext,omitempty"`
	Encrypt   *service.EncryptResponse `json:"encrypt,omitempty"`
	Decrypted []byte                   `json:"decrypted,omitempty"`
	Error     string                   `json:"error,omitempty"`
}

type report struct {
	// The version of the server's code.
	Client string  `json:"client"`
	Alone  round   `json:"alone"`
	AtOnce []round `json:"atOnce"`
}

func play(ctx context.Context, plugin service.Service, name string) (r round) {
	failed := func(call string, err error) round {
		r.Error = fmt.Sprintf("%s: %v", call, err)
		return r
	}
	var err error
	if r.Status, err = plugin.Status(ctx); err != nil {
		return failed("Status", err)
	}
	r.Plaintext = make([]byte, seedSize)
	if _, err = rand.Read(r.Plaintext); err != nil {
		return failed("random bytes", err)
	}
	if r.Encrypt, err = plugin.Encrypt(ctx, name+"-encrypt", r.Plaintext); err != nil {
		return failed("Encrypt", err)
	}
	r.Decrypted, err = plugin.Decrypt(ctx, name+"-decrypt", &service.DecryptRequest{
		Ciphertext:  r.Encrypt.Ciphertext,
		KeyID:       r.Encrypt.KeyID,
		Annotations: r.Encrypt.Annotations,
	})
	if err != nil {
		return failed("Decrypt", err)
	}
	return r
}

func version() string {
	build, _ := debug.ReadBuildInfo()
	for _, part := range build.Deps {
		if part.Path == module {
			return part.Version
		}
	}
	return "unknown"
}

func run() error {
	if len(os.Args) != 3 {
		return fmt.Errorf("usage: old-client ENDPOINT ROUNDS")
	}
	rounds, err := strconv.Atoi(os.Args[2])
	if err != nil || rounds < 0 {
		return fmt.Errorf("ROUNDS is %q: write a number from 0 on", os.Args[2])
	}
	ctx := context.Background()
	plugin, err := kmsv2.NewGRPCService(ctx, os.Args[1], "old", callTimeout)
	if err != nil {
		return err
	}
	told := report{Client: version(), Alone: play(ctx, plugin, "alone"), AtOnce: make([]round, rounds)}
	var all sync.WaitGroup
	for i := range told.AtOnce {
		all.Add(1)
		go func() {
			defer all.Done()
			told.AtOnce[i] = play(ctx, plugin, fmt.Sprintf("at-once-%d", i))
		}()
	}
	all.Wait()
	return json.NewEncoder(os.Stdout).Encode(told)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "old-client:", err)
		os.Exit(2)
	}
}
