package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"
)

const provisionerName = "tandem.local/directory"

// provision makes a directory for every claim of a class whose provisioner is tandem.local/directory. All nodes
// of the lab see the same directory, so class parameter shared=true gives ReadWriteMany; otherwise the
// volume is tied to the node that the scheduler chose.
func provision(kubeconfig, dir string) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	c, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	f := informers.NewSharedInformerFactory(c, 10*time.Minute)
	pvcs, pvs, scs := f.Core().V1().PersistentVolumeClaims(), f.Core().V1().PersistentVolumes(), f.Storage().V1().StorageClasses()
	q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	add := func(prefix string) cache.ResourceEventHandlerFuncs {
		put := func(o any) {
			if k, err := cache.DeletionHandlingMetaNamespaceKeyFunc(o); err == nil {
				q.Add(prefix + k)
			}
		}
		return cache.ResourceEventHandlerFuncs{AddFunc: put, UpdateFunc: func(_, o any) { put(o) }}
	}
	pvcs.Informer().AddEventHandler(add("c "))
	pvs.Informer().AddEventHandler(add("v "))
	scs.Informer()
	ctx := context.Background()
	f.Start(ctx.Done())
	f.WaitForCacheSync(ctx.Done())
	for {
		k, stop := q.Get()
		if stop {
			return nil
		}
		kind, key := k[:1], k[2:]
		var err error
		if kind == "c" {
			ns, name, _ := strings.Cut(key, "/")
			pvc, e := pvcs.Lister().PersistentVolumeClaims(ns).Get(name)
			if e == nil && pvc.Status.Phase == corev1.ClaimPending && pvc.Spec.VolumeName == "" && pvc.Spec.StorageClassName != nil {
				if sc, e := scs.Lister().Get(*pvc.Spec.StorageClassName); e == nil && sc.Provisioner == provisionerName {
					err = provisionOne(ctx, c, pvc, sc, dir)
				}
			}
		} else if pv, e := pvs.Lister().Get(key); e == nil && pv.Annotations["pv.kubernetes.io/provisioned-by"] == provisionerName &&
			pv.Status.Phase == corev1.VolumeReleased && pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete {
			if err = os.RemoveAll(pv.Spec.HostPath.Path); err == nil {
				err = c.CoreV1().PersistentVolumes().Delete(ctx, pv.Name, metav1.DeleteOptions{})
			}
		}
		if err != nil {
			klog.ErrorS(err, "again later", "key", k)
			q.AddRateLimited(k)
		} else {
			q.Forget(k)
		}
		q.Done(k)
	}
}

func provisionOne(ctx context.Context, c kubernetes.Interface, pvc *corev1.PersistentVolumeClaim, sc *storagev1.StorageClass, dir string) error {
	node := pvc.Annotations["volume.kubernetes.io/selected-node"]
	shared := sc.Parameters["shared"] == "true"
	if node == "" && !shared {
		return nil // the scheduler has not chosen yet
	}
	if pvc.Spec.VolumeMode != nil && *pvc.Spec.VolumeMode == corev1.PersistentVolumeBlock {
		return nil
	}
	name := "pvc-" + string(pvc.UID)
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(path, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(path, 0o777); err != nil {
		return err
	}
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": provisionerName}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: pvc.Spec.Resources.Requests[corev1.ResourceStorage]},
			AccessModes:                   pvc.Spec.AccessModes,
			VolumeMode:                    ptr.To(corev1.PersistentVolumeFilesystem),
			PersistentVolumeReclaimPolicy: *sc.ReclaimPolicy,
			StorageClassName:              sc.Name,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path, Type: ptr.To(corev1.HostPathDirectory)}},
			ClaimRef:                      &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: pvc.Namespace, Name: pvc.Name, UID: pvc.UID},
		},
	}
	if !shared {
		pv.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}}}}}}
	}
	_, err := c.CoreV1().PersistentVolumes().Create(ctx, pv, metav1.CreateOptions{})
	if err == nil {
		klog.InfoS("made", "volume", name, "claim", fmt.Sprint(pvc.Namespace, "/", pvc.Name), "node", node)
	} else if strings.Contains(err.Error(), "already exists") {
		err = nil
	}
	return err
}
