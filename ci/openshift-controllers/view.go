package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"

	"github.com/openshift/library-go/pkg/operator/encryption/encryptionconfig"
)

const (
	prefix     = "encryption.apiserver.operator.openshift.io/"
	keyData    = "encryption.apiserver.operator.openshift.io-key"
	configName = "encryption-config" // of the operand's copy, and of its data key
	nullKey    = "AAAAAAAAAAAAAAAAAAAAAA=="
	socket     = "unix:///var/run/kmsplugin/kms.sock"
)

// keyView is a key secret without its key.
func keyView(s *corev1.Secret) map[string]any {
	view := map[string]any{
		"mode":   s.Annotations[prefix+"mode"],
		"reason": s.Annotations[prefix+"internal-reason"],
		"bytes":  sizeOf(s.Data[keyData]),
	}
	if reason := s.Annotations[prefix+"external-reason"]; reason != "" {
		view["external"] = reason
	}
	if text := s.Annotations[prefix+"migrated-resources"]; text != "" {
		view["migrated"] = migratedView(text)
	}
	if text := s.Annotations[prefix+"migrated-timestamp"]; text != "" {
		view["migratedAt"] = ageView(text)
	}
	if s.DeletionTimestamp != nil {
		view["deleting"] = true
	}
	if len(s.Finalizers) == 0 {
		view["finalizer"] = "none"
	}
	return view
}

func migratedView(text string) any {
	var list struct {
		Resources []struct{ Group, Resource string }
	}
	if json.Unmarshal([]byte(text), &list) != nil {
		return "invalid: " + text
	}
	names := []string{}
	for _, r := range list.Resources {
		names = append(names, strings.TrimSuffix(r.Resource+"."+r.Group, "."))
	}
	return names
}

// ageView rounds to hours: a story may take a while.
func ageView(text string) string {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return "invalid: " + text
	}
	age := time.Since(at).Round(time.Hour)
	if age <= 0 {
		return "now"
	}
	return fmt.Sprintf("-%dh", int(age.Hours()))
}

func sizeOf(data []byte) string {
	if strings.Trim(string(data), "\x00") == "" {
		return fmt.Sprintf("%d zero", len(data))
	}
	return fmt.Sprintf("%d random", len(data))
}

// configView is a config as each resource's providers; resources with the same ones share an entry.
func configView(s *corev1.Secret) any {
	config, err := encryptionconfig.FromSecret(s)
	switch {
	case err != nil:
		return "undecodable"
	case config == nil:
		return "no data"
	}
	resources := map[string][]string{}
	for _, entry := range config.Resources {
		providers := []string{}
		for _, p := range entry.Providers {
			providers = append(providers, providerView(p))
		}
		text := strings.Join(providers, ",")
		resources[text] = append(resources[text], strings.Join(entry.Resources, "+"))
	}
	view := map[string]string{}
	for _, text := range slices.Sorted(maps.Keys(resources)) {
		view[strings.Join(resources[text], " ")] = text
	}
	if s.DeletionTimestamp != nil {
		view["deleting"] = "yes"
	}
	return view
}

// providerView is a kind and a key's number. The entry that only carries an identity key's number has a kind of its own.
func providerView(p apiserverv1.ProviderConfiguration) string {
	switch {
	case p.Identity != nil:
		return "identity"
	case p.AESCBC != nil:
		return "aescbc:" + nameOf(p.AESCBC.Keys)
	case p.AESGCM != nil && len(p.AESGCM.Keys) > 0 && p.AESGCM.Keys[0].Secret == nullKey:
		return "aesgcm-null:" + nameOf(p.AESGCM.Keys)
	case p.AESGCM != nil:
		return "aesgcm:" + nameOf(p.AESGCM.Keys)
	case p.Secretbox != nil:
		return "secretbox:" + nameOf(p.Secretbox.Keys)
	case p.KMS != nil:
		number, _, _ := strings.Cut(p.KMS.Name, "_")
		if p.KMS.Endpoint != socket && p.KMS.Endpoint != laterSocket(number) {
			return "kms:" + number + "@" + p.KMS.Endpoint
		}
		return "kms:" + number
	}
	return "empty"
}

// laterSocket is where the generation after this one has a key's plugin.
func laterSocket(number string) string {
	return fmt.Sprintf("unix:///var/run/kmsplugin/kms-%s.sock", number)
}

func nameOf(keys []apiserverv1.Key) string {
	if len(keys) == 0 {
		return ""
	}
	return keys[0].Name
}

// objectView is a whole secret; data become sizes, and times a word.
func objectView(s *corev1.Secret) map[string]any {
	annotations := map[string]string{}
	for key, value := range s.Annotations {
		if strings.HasSuffix(key, "timestamp") {
			value = "<RFC3339 time>"
		}
		annotations[key] = value
	}
	data := map[string]string{}
	for key, value := range s.Data {
		data[key] = "<" + sizeOf(value) + ">"
		if key == configName {
			data[key] = "<EncryptionConfiguration, JSON>"
		}
	}
	// made anew, so that none is an empty list, not null
	labels, finalizers := map[string]string{}, append([]string{}, s.Finalizers...)
	maps.Copy(labels, s.Labels)
	metadata := map[string]any{"name": s.Name, "namespace": s.Namespace, "labels": labels, "finalizers": finalizers, "annotations": annotations}
	return map[string]any{"kind": "Secret", "type": s.Type, "metadata": metadata, "data": data}
}

// configText is a config as its controller wrote it, but for random keys: key 1 is 32 times A, key 2 is 32 times B.
func configText(s *corev1.Secret) (any, error) {
	config, err := encryptionconfig.FromSecret(s)
	if err != nil {
		return nil, err
	}
	if config == nil {
		return nil, errors.New("no data")
	}
	for _, entry := range config.Resources {
		for _, p := range entry.Providers {
			for _, local := range []*apiserverv1.AESConfiguration{p.AESCBC, p.AESGCM} {
				if local == nil || local.Keys[0].Secret == nullKey {
					continue
				}
				number, err := strconv.Atoi(local.Keys[0].Name)
				if err != nil {
					return nil, err
				}
				same := strings.Repeat(string(rune('A'-1+number)), 32)
				local.Keys[0].Secret = base64.StdEncoding.EncodeToString([]byte(same))
			}
		}
	}
	again, err := encryptionconfig.ToSecret("", "", config)
	if err != nil {
		return nil, err
	}
	return json.RawMessage(again.Data[configName]), nil
}
