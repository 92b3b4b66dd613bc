// Command kmslib is a plugin for Vault Transit as an author would first write it: k8s.io/kms/pkg/service around three
// HTTP requests and a login. It is honest and simple, and lacks what such plugins lack: a health of its own, a deadline,
// a second attempt, and care for a socket file that was left.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"k8s.io/kms/pkg/service"
)

type transit struct {
	address, mount, key, approle, role, secretFile string

	token  atomic.Value
	client http.Client
}

var errForbidden = errors.New("Vault answered 403")

// send makes one request; body nil means GET. The answer's part `name` goes to `answer`.
func (t *transit) send(ctx context.Context, path string, body any, name string, answer any) error {
	method, sent := http.MethodGet, []byte(nil)
	if body != nil {
		method = http.MethodPut
		var err error
		if sent, err = json.Marshal(body); err != nil {
			return err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, t.address+"/v1/"+path, bytes.NewReader(sent))
	if err != nil {
		return err
	}
	if token, ok := t.token.Load().(string); ok {
		request.Header.Set("X-Vault-Token", token)
	}
	response, err := t.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusForbidden:
		return errForbidden
	default:
		return fmt.Errorf("%s: Vault answered %s", path, response.Status)
	}
	var parts map[string]json.RawMessage
	if err := json.NewDecoder(response.Body).Decode(&parts); err != nil {
		return err
	}
	return json.Unmarshal(parts[name], answer)
}

func (t *transit) login(ctx context.Context) error {
	secret, err := os.ReadFile(t.secretFile)
	if err != nil {
		return err
	}
	credentials := map[string]string{"role_id": t.role, "secret_id": strings.TrimSpace(string(secret))}
	var auth struct {
		Token string `json:"client_token"`
	}
	if err := t.send(ctx, "auth/"+t.approle+"/login", credentials, "auth", &auth); err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	t.token.Store(auth.Token)
	return nil
}

// call asks Transit, and logs in again when the token is refused.
func (t *transit) call(ctx context.Context, path string, body, answer any) error {
	if t.token.Load() != nil {
		err := t.send(ctx, t.mount+"/"+path, body, "data", answer)
		if !errors.Is(err, errForbidden) {
			return err
		}
	}
	if err := t.login(ctx); err != nil {
		return err
	}
	return t.send(ctx, t.mount+"/"+path, body, "data", answer)
}

// keyID names the key and its newest version.
func (t *transit) keyID(ctx context.Context) (string, error) {
	var key struct {
		LatestVersion int `json:"latest_version"`
	}
	if err := t.call(ctx, "keys/"+t.key, nil, &key); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s/%d", t.key, key.LatestVersion), nil
}

func (t *transit) Status(ctx context.Context) (*service.StatusResponse, error) {
	id, err := t.keyID(ctx)
	if err != nil {
		return nil, err
	}
	return &service.StatusResponse{Version: "v2", Healthz: "ok", KeyID: id}, nil
}

func (t *transit) Encrypt(ctx context.Context, _ string, plaintext []byte) (*service.EncryptResponse, error) {
	var sealed struct {
		Ciphertext string `json:"ciphertext"`
	}
	if err := t.call(ctx, "encrypt/"+t.key, map[string][]byte{"plaintext": plaintext}, &sealed); err != nil {
		return nil, err
	}
	version, _, found := strings.Cut(strings.TrimPrefix(sealed.Ciphertext, "vault:v"), ":")
	if !found {
		return nil, errors.New("Vault's ciphertext has no version")
	}
	return &service.EncryptResponse{Ciphertext: []byte(sealed.Ciphertext), KeyID: t.key + "/" + version}, nil
}

func (t *transit) Decrypt(ctx context.Context, _ string, request *service.DecryptRequest) ([]byte, error) {
	var opened struct {
		Plaintext []byte `json:"plaintext"`
	}
	err := t.call(ctx, "decrypt/"+t.key, map[string]string{"ciphertext": string(request.Ciphertext)}, &opened)
	return opened.Plaintext, err
}

func main() {
	vault := &transit{}
	socket := flag.String("socket", "", "where to listen")
	ca := flag.String("ca", "", "file with Vault's CA; the system's when empty")
	flag.StringVar(&vault.address, "vault", "", "Vault's address")
	flag.StringVar(&vault.mount, "mount", "transit", "where Transit is mounted")
	flag.StringVar(&vault.key, "key", "", "name of the key")
	flag.StringVar(&vault.approle, "approle", "approle", "where AppRole is mounted")
	flag.StringVar(&vault.role, "role-id", "", "AppRole's role id")
	flag.StringVar(&vault.secretFile, "secret-id-file", "", "file with the secret id")
	flag.Parse()

	if *ca != "" {
		text, err := os.ReadFile(*ca)
		if err != nil {
			log.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(text)
		vault.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	}
	served := service.NewGRPCService(*socket, 5*time.Second, vault)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-stop
		served.Shutdown()
	}()
	if err := served.ListenAndServe(); err != nil {
		log.Fatal(err)
	}
}
