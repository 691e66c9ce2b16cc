//! What is decided of an object before it is stored, by what else is in the cluster: the admission plugins that
//! kube-apiserver has on by default. Each takes the object as a value, and the few other objects that bear on it.
//!
//! | module | plugin |
//! |---|---|
//! | `limits` | LimitRanger |
//! | `quota` | ResourceQuota |
//! | `pod_security` | PodSecurity |
//! | `priority` | Priority |
//! | `pod` | ServiceAccount, RuntimeClass |
//! | `topology` | PodTopologyLabels |
//! | `node` | TaintNodesByCondition |
//! | `storage` | DefaultStorageClass, StorageObjectInUseProtection, PersistentVolumeClaimResize |

pub mod limits;
pub mod node;
pub mod pod;
pub mod pod_security;
pub mod priority;
pub mod quota;
pub mod storage;
pub mod topology;
