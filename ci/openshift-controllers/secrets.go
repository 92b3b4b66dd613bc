package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const finalizer = prefix + "deletion-protection"

// edit does by hand to a secret:
//
//	create MODE, create-v1, create-v2         a key that nobody asked for; a migrated KMS key of a later generation
//	create-config JSON                        a config that no controller of ours wrote
//	save, restore                             lay it aside; put it back
//	set NOTE TEXT, unset NOTE, age DURATION   its annotations; age is that of its last migration
//	corrupt, delete, strip, force-delete      its config; itself; its finalizers; both of these
func (c *cluster) edit(ctx context.Context, o *operator, namespace, name string, words []string) error {
	api := c.kube.CoreV1().Secrets(namespace)
	made, err := c.made(namespace, name, words)
	if err != nil {
		return err
	}
	if made != nil {
		_, err := api.Create(ctx, made, metav1.CreateOptions{})
		return err
	}
	if words[0] == "delete" {
		return api.Delete(ctx, name, metav1.DeleteOptions{})
	}
	secret, err := api.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if secret.Annotations == nil {
		secret.Annotations = map[string]string{}
	}
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	switch words[0] {
	case "save":
		c.kept[name] = secret.DeepCopy()
		return nil
	case "unset":
		delete(secret.Annotations, prefix+words[1])
	case "set":
		secret.Annotations[prefix+words[1]] = strings.Join(words[2:], " ")
	case "age":
		age, err := time.ParseDuration(words[1])
		if err != nil {
			return err
		}
		secret.Annotations[prefix+"migrated-timestamp"] = time.Now().Add(-age).Format(time.RFC3339)
	case "corrupt":
		secret.Data[configName] = []byte("{")
	case "strip", "force-delete":
		secret.Finalizers = nil
	default:
		return errors.New("unknown edit")
	}
	if _, err := api.Update(ctx, secret, metav1.UpdateOptions{}); err != nil || words[0] != "force-delete" {
		return err
	}
	return api.Delete(ctx, name, metav1.DeleteOptions{})
}

// made is the secret that an edit brings, nothing if it changes one that is there.
func (c *cluster) made(namespace, name string, words []string) (*corev1.Secret, error) {
	secret := &corev1.Secret{Type: corev1.SecretTypeOpaque, ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}}
	if len(words) < map[string]int{"create": 2, "create-config": 2, "set": 3, "unset": 2, "age": 2}[words[0]] {
		return nil, errMalformed
	}
	component := map[string]string{prefix + "component": c.operators[0].name}
	switch words[0] {
	case "create":
		secret.Labels = component
		secret.Annotations = map[string]string{prefix + "mode": words[1]}
		secret.Data = map[string][]byte{keyData: []byte(strings.Repeat("k", 32))}
	case "create-config":
		secret.Data = map[string][]byte{configName: []byte(strings.Join(words[1:], " "))}
	case "create-v1", "create-v2":
		secret.Labels = component
		return secret, laterKey(secret, words[0] == "create-v1")
	case "restore":
		saved, is := c.kept[name]
		if !is {
			return nil, errors.New("nothing saved")
		}
		secret = saved.DeepCopy()
		secret.ResourceVersion, secret.UID = "", ""
	default:
		return nil, nil
	}
	return secret, nil
}

// laterKey makes a migrated KMS key of it, in the form of the first or of the second generation with a KMS mode.
func laterKey(secret *corev1.Secret, first bool) error {
	number := secret.Name[strings.LastIndex(secret.Name, "-")+1:]
	secret.Finalizers = []string{finalizer}
	secret.Annotations = map[string]string{
		prefix + "mode":               "KMS",
		prefix + "internal-reason":    "key-does-not-exist",
		prefix + "external-reason":    "",
		prefix + "migrated-timestamp": time.Now().Format(time.RFC3339),
		prefix + "migrated-resources": `{"resources":[{"Group":"","Resource":"configmaps"},{"Group":"","Resource":"secrets"}]}`,
	}
	secret.Data = map[string][]byte{keyData: make([]byte, 16)}
	provider := map[string]string{"apiVersion": "v2", "name": number, "endpoint": socket, "timeout": "10s"}
	if first {
		text, err := json.Marshal(provider)
		secret.Annotations[prefix+"kms-config"] = string(text)
		return err
	}
	provider["endpoint"] = laterSocket(number)
	config, err := json.Marshal(map[string]any{
		"kind": "EncryptionConfiguration", "apiVersion": "apiserver.config.k8s.io/v1",
		"resources": []any{map[string]any{"resources": []string{"secrets"}, "providers": []any{map[string]any{"kms": provider}}}},
	})
	secret.Data[strings.TrimSuffix(keyData, "key")+"kms-encryption-config"] = config
	return err
}
