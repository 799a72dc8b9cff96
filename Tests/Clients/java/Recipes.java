// Curator's operations and recipes, all at once on one server, each in two parts: before and after a kill -9 and restart of it.
//
//     java Recipes HOST:PORT[,HOST:PORT...] [MILLISECONDS that a session lasts]
//
// Prints "ok NAME" or "FAIL NAME: WHY" for each part. Where the server is to be killed and restarted it prints "KILL" and waits
// for a line on standard input.

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.ChildData;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.cache.NodeCache;
import org.apache.curator.framework.recipes.cache.PathChildrenCache;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListener;
import org.apache.curator.framework.recipes.locks.InterProcessMultiLock;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreMutex;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.curator.framework.recipes.queue.DistributedDelayQueue;
import org.apache.curator.framework.recipes.queue.DistributedPriorityQueue;
import org.apache.curator.framework.recipes.queue.DistributedQueue;
import org.apache.curator.framework.recipes.queue.QueueBuilder;
import org.apache.curator.framework.recipes.queue.QueueConsumer;
import org.apache.curator.framework.recipes.queue.QueueSerializer;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.shared.SharedValue;
import org.apache.curator.framework.recipes.shared.VersionedValue;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryNTimes;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.Id;
import org.apache.zookeeper.data.Stat;

public class Recipes {
    static String address;
    static int sessionMilliseconds = 20000;
    /** Seconds for what is to come soon, on a machine that may be busy, and for what waits until servers were killed and restarted. */
    static final int PATIENCE = 60;
    static final long OVER_FAULTS = 600;
    static final List<CuratorFramework> clients = Collections.synchronizedList(new ArrayList<>());
    static final Map<CuratorFramework, Long> sessions = Collections.synchronizedMap(new LinkedHashMap<>());
    static final ExecutorService aside = Executors.newCachedThreadPool(runnable -> {
        Thread thread = new Thread(runnable);
        thread.setDaemon(true);
        return thread;
    });

    /** Two parts of one recipe; the server is killed and restarted between them. */
    abstract static class Recipe {
        final String name;

        Recipe(String name) {
            this.name = name;
        }

        abstract void before() throws Exception;

        abstract void after() throws Exception;
    }

    // What the recipes are written with.

    static CuratorFramework connect() throws Exception {
        CuratorFramework client = CuratorFrameworkFactory.builder().connectString(address).sessionTimeoutMs(sessionMilliseconds)
                .connectionTimeoutMs(15000).retryPolicy(new RetryNTimes(200, 100)).build();
        start(client);
        return client;
    }

    static void start(CuratorFramework client) throws Exception {
        client.start();
        check(client.blockUntilConnected(PATIENCE, TimeUnit.SECONDS), "not connected");
        clients.add(client);
        sessions.put(client, client.getZookeeperClient().getZooKeeper().getSessionId());
    }

    static void check(boolean truth, String what) {
        if (!truth) {
            throw new AssertionError(what);
        }
    }

    static void equal(Object want, Object got, String what) {
        check(want.equals(got), what + ": expected " + want + ", got " + got);
    }

    static void until(String what, Callable<Boolean> condition) throws Exception {
        Exception last = null;
        for (long end = System.nanoTime() + PATIENCE * 1_000_000_000L; System.nanoTime() < end; Thread.sleep(20)) {
            try {
                last = null;
                if (condition.call()) {
                    return;
                }
            } catch (Exception error) {
                last = error;
            }
        }
        throw new AssertionError("waited " + PATIENCE + " s for " + what + (last == null ? "" : ": " + last));
    }

    static void fails(Class<? extends Exception> kind, Callable<?> call) throws Exception {
        try {
            call.call();
        } catch (Exception error) {
            check(kind.isInstance(error), "expected " + kind.getSimpleName() + ", got " + error);
            return;
        }
        throw new AssertionError("expected " + kind.getSimpleName());
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] data) {
        return new String(data, StandardCharsets.UTF_8);
    }

    /** What another client wrote before is seen: on an ensemble the two may be on different servers. */
    static String data(CuratorFramework client, String path) throws Exception {
        return text(upToDate(client, path).getData().forPath(path));
    }

    /** The same for what a recipe reads by itself. */
    static CuratorFramework upToDate(CuratorFramework client, String path) throws Exception {
        client.sync().forPath(path);
        return client;
    }

    // The recipes.

    static final List<Recipe> RECIPES = Arrays.asList(
        new Recipe("operations: every create mode, data, children, ACLs, errors") {
            CuratorFramework client;

            void before() throws Exception {
                client = connect();
                equal("/ops/deep/p", client.create().creatingParentsIfNeeded().forPath("/ops/deep/p", bytes("one")), "path");
                client.create().creatingParentContainersIfNeeded().forPath("/contained/child");
                equal("/ops/s0000000001", client.create().withMode(CreateMode.PERSISTENT_SEQUENTIAL).forPath("/ops/s"), "path");
                client.create().withMode(CreateMode.EPHEMERAL).forPath("/ops/e");
                equal("/ops/es0000000003",
                        client.create().withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath("/ops/es"), "path");
                client.create().withMode(CreateMode.CONTAINER).forPath("/ops/container");
                client.create().withTtl(3600000).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath("/ops/ttl");
                check(client.create().withProtection().withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath("/ops/protected-")
                        .startsWith("/ops/_c_"), "protected name");
                Stat stat = new Stat();
                equal("one", text(client.getData().storingStatIn(stat).forPath("/ops/deep/p")), "data");
                equal(1, client.setData().withVersion(0).forPath("/ops/deep/p", bytes("two")).getVersion(), "version");
                fails(KeeperException.BadVersionException.class,
                        () -> client.setData().withVersion(0).forPath("/ops/deep/p", bytes("three")));
                fails(KeeperException.NodeExistsException.class, () -> client.create().forPath("/ops/e"));
                fails(KeeperException.NoNodeException.class, () -> client.getData().forPath("/ops/none"));
                fails(KeeperException.NotEmptyException.class, () -> client.delete().forPath("/ops"));
                client.create().orSetData().forPath("/ops/deep/p", bytes("or set"));
                equal("or set", data(client, "/ops/deep/p"), "data");
                client.setACL().withACL(ZooDefs.Ids.READ_ACL_UNSAFE).forPath("/ops/ttl");
                equal(ZooDefs.Ids.READ_ACL_UNSAFE, client.getACL().forPath("/ops/ttl"), "ACL");
                fails(KeeperException.NoAuthException.class, () -> client.setData().forPath("/ops/ttl", bytes("x")));
                CountDownLatch synced = new CountDownLatch(1);
                client.sync().inBackground((c, event) -> synced.countDown()).forPath("/ops");
                check(synced.await(PATIENCE, TimeUnit.SECONDS), "no answer to sync");
                check(client.getZookeeperClient().getZooKeeper().getEphemerals("/ops/e").contains("/ops/e"), "getEphemerals");
                check(client.getZookeeperClient().getZooKeeper().getAllChildrenNumber("/ops") >= 8, "getAllChildrenNumber");
                client.delete().guaranteed().deletingChildrenIfNeeded().forPath("/ops/deep");
                check(client.checkExists().forPath("/ops/deep") == null, "not deleted");
            }

            void after() throws Exception {
                equal(new TreeSet<>(Arrays.asList("container", "e", "es0000000003", "s0000000001", "ttl")),
                        new TreeSet<>(client.getChildren().forPath("/ops").stream().filter(n -> !n.startsWith("_c_"))
                                .collect(java.util.stream.Collectors.toList())), "children");
                equal(sessions.get(client), client.checkExists().forPath("/ops/e").getEphemeralOwner(), "owner");
                equal("/ops/s0000000007",
                        client.create().withMode(CreateMode.PERSISTENT_SEQUENTIAL).forPath("/ops/s"), "the next number");
                client.delete().forPath("/contained/child");
                until("the empty container to be removed", () -> client.checkExists().forPath("/contained") == null);
            }
        },
        new Recipe("transactions") {
            CuratorFramework client;

            void before() throws Exception {
                client = connect();
                client.create().forPath("/transaction", bytes("0"));
                List<CuratorTransactionResult> results = client.transaction().forOperations(
                        client.transactionOp().create().forPath("/transaction/a", bytes("1")),
                        client.transactionOp().create().withMode(CreateMode.PERSISTENT_SEQUENTIAL).forPath("/transaction/s"),
                        client.transactionOp().create().withTtl(3600000).withMode(CreateMode.PERSISTENT_WITH_TTL)
                                .forPath("/transaction/ttl"),
                        client.transactionOp().setData().withVersion(0).forPath("/transaction", bytes("1")),
                        client.transactionOp().check().withVersion(1).forPath("/transaction"),
                        client.transactionOp().delete().forPath("/transaction/a"));
                equal("/transaction/s0000000001", results.get(1).getResultPath(), "path");
                equal(1, results.get(3).getResultStat().getVersion(), "version");
                fails(KeeperException.BadVersionException.class, () -> client.transaction().forOperations(
                        client.transactionOp().create().forPath("/transaction/never"),
                        client.transactionOp().check().withVersion(9).forPath("/transaction")));
                check(client.checkExists().forPath("/transaction/never") == null, "a failed transaction left a node");
            }

            void after() throws Exception {
                equal(new TreeSet<>(Arrays.asList("s0000000001", "ttl")),
                        new TreeSet<>(client.getChildren().forPath("/transaction")), "children");
                equal("1", data(client, "/transaction"), "data");
                client.transaction().forOperations(client.transactionOp().create().forPath("/transaction/later"));
                check(client.checkExists().forPath("/transaction/later") != null, "no node");
            }
        },
        new Recipe("digest authentication") {
            CuratorFramework owner;
            CuratorFramework other;

            void before() throws Exception {
                owner = CuratorFrameworkFactory.builder().connectString(address).sessionTimeoutMs(sessionMilliseconds)
                        .connectionTimeoutMs(15000).retryPolicy(new RetryNTimes(200, 100))
                        .authorization("digest", bytes("erin:pw")).build();
                start(owner);
                other = connect();
                owner.create().withACL(ZooDefs.Ids.CREATOR_ALL_ACL).forPath("/secret", bytes("s"));
                fails(KeeperException.NoAuthException.class, () -> data(other, "/secret"));
                owner.create().withACL(Collections.singletonList(new ACL(ZooDefs.Perms.READ, new Id("ip", "127.0.0.0/8"))))
                        .forPath("/from-here", bytes("s"));
                equal("s", data(other, "/from-here"), "data");
            }

            void after() throws Exception {
                equal("s", data(owner, "/secret"), "data");
                fails(KeeperException.NoAuthException.class, () -> data(other, "/secret"));
            }
        },
        new Recipe("InterProcessMutex") {
            InterProcessMutex one;
            InterProcessMutex two;
            Future<Boolean> waiting;
            ExecutorService holder = Executors.newSingleThreadExecutor();

            void before() throws Exception {
                one = new InterProcessMutex(connect(), "/mutex");
                two = new InterProcessMutex(connect(), "/mutex");
                holder.submit(() -> {
                    one.acquire();
                    one.acquire();
                    one.release();
                    return null;
                }).get();
                check(!two.acquire(300, TimeUnit.MILLISECONDS), "two holders");
                waiting = aside.submit(() -> two.acquire(OVER_FAULTS, TimeUnit.SECONDS) && release(two));
                until("two participants", () -> one.getParticipantNodes().size() == 2);
            }

            void after() throws Exception {
                check(one.isAcquiredInThisProcess() && !waiting.isDone(), "the mutex changed hands");
                equal(2, one.getParticipantNodes().size(), "participants");
                holder.submit(() -> {
                    one.release();
                    return null;
                }).get();
                check(waiting.get(PATIENCE, TimeUnit.SECONDS), "the second did not get it");
                holder.shutdown();
            }
        },
        new Recipe("InterProcessReadWriteLock, InterProcessMultiLock, InterProcessSemaphoreMutex") {
            InterProcessReadWriteLock one;
            InterProcessReadWriteLock two;
            Future<Boolean> writer;
            InterProcessSemaphoreMutex plain;
            InterProcessMultiLock several;

            void before() throws Exception {
                CuratorFramework a = connect();
                CuratorFramework b = connect();
                one = new InterProcessReadWriteLock(a, "/rw");
                two = new InterProcessReadWriteLock(b, "/rw");
                CountDownLatch reading = new CountDownLatch(2);
                for (InterProcessReadWriteLock lock : Arrays.asList(one, two)) {
                    aside.submit(() -> {
                        lock.readLock().acquire();
                        reading.countDown();
                        finish.await();
                        lock.readLock().release();
                        return null;
                    });
                }
                check(reading.await(PATIENCE, TimeUnit.SECONDS), "two readers");
                check(!two.writeLock().acquire(200, TimeUnit.MILLISECONDS), "a writer beside readers");
                writer = aside.submit(() -> one.writeLock().acquire(OVER_FAULTS, TimeUnit.SECONDS) && release(one.writeLock()));
                plain = new InterProcessSemaphoreMutex(a, "/semaphore-mutex");
                plain.acquire();
                several = new InterProcessMultiLock(b, Arrays.asList("/several/1", "/several/2"));
                check(holder.submit(() -> several.acquire(PATIENCE, TimeUnit.SECONDS)).get(), "the multi lock");
            }

            final CountDownLatch finish = new CountDownLatch(1);
            final ExecutorService holder = Executors.newSingleThreadExecutor();

            void after() throws Exception {
                check(!writer.isDone(), "a writer beside readers");
                finish.countDown();
                check(writer.get(PATIENCE, TimeUnit.SECONDS), "the writer did not get it");
                check(plain.isAcquiredInThisProcess(), "the semaphore mutex was lost");
                plain.release();
                holder.submit(() -> release(several)).get();
                holder.shutdown();
            }
        },
        new Recipe("InterProcessSemaphoreV2") {
            InterProcessSemaphoreV2 semaphore;
            InterProcessSemaphoreV2 other;
            Collection<Lease> leases;

            void before() throws Exception {
                semaphore = new InterProcessSemaphoreV2(connect(), "/semaphore", 3);
                other = new InterProcessSemaphoreV2(connect(), "/semaphore", 3);
                leases = semaphore.acquire(3);
                check(other.acquire(300, TimeUnit.MILLISECONDS) == null, "a fourth lease");
            }

            void after() throws Exception {
                equal(3, semaphore.getParticipantNodes().size(), "leases");
                check(other.acquire(300, TimeUnit.MILLISECONDS) == null, "a fourth lease");
                semaphore.returnAll(leases);
                Lease lease = other.acquire(PATIENCE, TimeUnit.SECONDS);
                check(lease != null, "a returned lease was not taken");
                other.returnLease(lease);
            }
        },
        new Recipe("LeaderLatch") {
            final List<LeaderLatch> latches = new ArrayList<>();

            LeaderLatch leader() throws Exception {
                until("one leader", () -> latches.stream().filter(LeaderLatch::hasLeadership).count() == 1);
                return latches.stream().filter(LeaderLatch::hasLeadership).findFirst().get();
            }

            void before() throws Exception {
                for (String id : Arrays.asList("a", "b", "c")) {
                    LeaderLatch latch = new LeaderLatch(connect(), "/latch", id);
                    latch.start();
                    latches.add(latch);
                }
                LeaderLatch leader = leader();
                until("all to know it", () -> latches.get(0).getParticipants().size() == 3
                        && latches.get(1).getLeader().getId().equals(leader.getId()));
            }

            void after() throws Exception {
                LeaderLatch leader = leader();
                until("three participants", () -> leader.getParticipants().size() == 3);
                leader.close();
                latches.remove(leader);
                check(!leader().getId().equals(leader.getId()), "the same leader");
                for (LeaderLatch latch : latches) {
                    latch.close();
                }
            }
        },
        new Recipe("LeaderSelector") {
            final BlockingQueue<String> leaders = new LinkedBlockingQueue<>();
            final CountDownLatch leave = new CountDownLatch(1);
            final List<LeaderSelector> selectors = new ArrayList<>();

            void before() throws Exception {
                for (String id : Arrays.asList("a", "b")) {
                    LeaderSelector selector = new LeaderSelector(connect(), "/selector", new LeaderSelectorListener() {
                        public void takeLeadership(CuratorFramework client) throws Exception {
                            leaders.add(id);
                            leave.await();
                        }

                        public void stateChanged(CuratorFramework client, ConnectionState state) {
                            // Leadership lasts as long as the session: a suspended connection does not end it.
                            check(state != ConnectionState.LOST, "the session was lost");
                        }
                    });
                    selector.setId(id);
                    selector.start();
                    selectors.add(selector);
                }
                until("a leader", () -> leaders.size() == 1);
                until("two participants", () -> selectors.get(0).getParticipants().size() == 2);
            }

            void after() throws Exception {
                equal(1, leaders.size(), "leaders");
                until("the leader to be known", () -> selectors.get(1).getLeader().getId().equals(leaders.peek()));
                leave.countDown();
                until("the next leader", () -> leaders.size() == 2);
                equal(new TreeSet<>(Arrays.asList("a", "b")), new TreeSet<>(leaders), "leaders");
                for (LeaderSelector selector : selectors) {
                    selector.close();
                }
            }
        },
        new Recipe("DistributedBarrier, with a waiter") {
            DistributedBarrier barrier;
            Future<Boolean> waiting;

            void before() throws Exception {
                barrier = new DistributedBarrier(connect(), "/barrier");
                barrier.setBarrier();
                DistributedBarrier other = new DistributedBarrier(upToDate(connect(), "/barrier"), "/barrier");
                check(!other.waitOnBarrier(200, TimeUnit.MILLISECONDS), "no barrier");
                waiting = aside.submit(() -> other.waitOnBarrier(OVER_FAULTS, TimeUnit.SECONDS));
                Thread.sleep(200);
            }

            void after() throws Exception {
                check(!waiting.isDone(), "the barrier is gone");
                barrier.removeBarrier();
                check(waiting.get(PATIENCE, TimeUnit.SECONDS), "the waiter was not let through");
            }
        },
        new Recipe("DistributedDoubleBarrier") {
            final List<DistributedDoubleBarrier> members = new ArrayList<>();

            void all(boolean enter) throws Exception {
                List<Future<Boolean>> tasks = new ArrayList<>();
                for (DistributedDoubleBarrier member : members) {
                    tasks.add(aside.submit(() -> enter ? member.enter(PATIENCE, TimeUnit.SECONDS) : member.leave(PATIENCE, TimeUnit.SECONDS)));
                }
                for (Future<Boolean> task : tasks) {
                    check(task.get(PATIENCE, TimeUnit.SECONDS), enter ? "not in" : "not out");
                }
            }

            void before() throws Exception {
                for (int i = 0; i < 3; i++) {
                    members.add(new DistributedDoubleBarrier(connect(), "/double", 3));
                }
                all(true);
            }

            void after() throws Exception {
                all(false);
            }
        },
        new Recipe("SharedCount and SharedValue") {
            SharedCount one;
            SharedCount two;
            SharedValue value;

            void before() throws Exception {
                one = new SharedCount(connect(), "/count", 10);
                two = new SharedCount(connect(), "/count", 10);
                one.start();
                two.start();
                equal(10, one.getCount(), "the first count");
                one.setCount(11);
                until("the other to see it", () -> two.getCount() == 11);
                VersionedValue<Integer> seen = two.getVersionedValue();
                check(two.trySetCount(seen, 12), "an up-to-date set");
                check(!two.trySetCount(seen, 13), "an outdated set");
                value = new SharedValue(connect(), "/value", bytes("seed"));
                value.start();
                value.setValue(bytes("v1"));
            }

            void after() throws Exception {
                until("the count", () -> one.getCount() == 12 && two.getCount() == 12);
                until("a set", () -> one.trySetCount(one.getVersionedValue(), 20));
                until("the other to see it", () -> two.getCount() == 20);
                equal("v1", text(value.getValue()), "value");
                one.close();
                two.close();
                value.close();
            }
        },
        new Recipe("DistributedAtomicLong") {
            CuratorFramework a;
            CuratorFramework b;
            DistributedAtomicLong one;
            DistributedAtomicLong two;

            void expect(CuratorFramework client, DistributedAtomicLong counter, long want) throws Exception {
                upToDate(client, "/atomic");
                equal(want, counter.get().postValue(), "sum");
            }

            void add(int times) throws Exception {
                List<Future<Integer>> tasks = new ArrayList<>();
                for (DistributedAtomicLong counter : Arrays.asList(one, two)) {
                    tasks.add(aside.submit(() -> {
                        int done = 0;
                        while (done < times) {
                            AtomicValue<Long> result = counter.increment();
                            done += result.succeeded() ? 1 : 0;
                        }
                        return done;
                    }));
                }
                for (Future<Integer> task : tasks) {
                    task.get(PATIENCE, TimeUnit.SECONDS);
                }
            }

            void before() throws Exception {
                a = connect();
                b = connect();
                one = new DistributedAtomicLong(a, "/atomic", new RetryNTimes(50, 5));
                two = new DistributedAtomicLong(b, "/atomic", new RetryNTimes(50, 5));
                add(50);
                expect(a, one, 100);
            }

            void after() throws Exception {
                expect(b, two, 100);
                add(10);
                expect(a, one, 120);
                check(one.compareAndSet(120L, 5L).succeeded(), "compareAndSet");
                check(!two.compareAndSet(120L, 6L).succeeded(), "an outdated compareAndSet");
            }
        },
        new Recipe("PathChildrenCache, TreeCache, NodeCache") {
            CuratorFramework writer;
            PathChildrenCache children;
            TreeCache tree;
            NodeCache node;

            void before() throws Exception {
                writer = connect();
                CuratorFramework client = connect();
                writer.create().creatingParentsIfNeeded().forPath("/cached/a/b", bytes("deep"));
                upToDate(client, "/cached");
                children = new PathChildrenCache(client, "/cached", true);
                children.start(PathChildrenCache.StartMode.BUILD_INITIAL_CACHE);
                tree = new TreeCache(client, "/cached");
                tree.start();
                node = new NodeCache(client, "/cached/a");
                node.start(true);
                equal(1, children.getCurrentData().size(), "children");
                until("the tree", () -> text(tree.getCurrentData("/cached/a/b").getData()).equals("deep"));
                writer.setData().forPath("/cached/a", bytes("new"));
                writer.create().forPath("/cached/c", bytes("c"));
                seen("new", "c");
            }

            void seen(String a, String c) throws Exception {
                until("the node", () -> text(node.getCurrentData().getData()).equals(a));
                until("the child", () -> text(children.getCurrentData("/cached/c").getData()).equals(c)
                        && text(children.getCurrentData("/cached/a").getData()).equals(a));
                until("the tree", () -> text(tree.getCurrentData("/cached/c").getData()).equals(c)
                        && text(tree.getCurrentData("/cached/a").getData()).equals(a));
            }

            void after() throws Exception {
                writer.setData().forPath("/cached/a", bytes("after"));
                writer.setData().forPath("/cached/c", bytes("after too"));
                seen("after", "after too");
                writer.delete().forPath("/cached/c");
                until("the deletion", () -> children.getCurrentData("/cached/c") == null
                        && tree.getCurrentData("/cached/c") == null);
                children.close();
                tree.close();
                node.close();
            }
        },
        new Recipe("CuratorCache and PersistentWatcher: persistent recursive watches") {
            CuratorFramework writer;
            CuratorCache cache;
            PersistentWatcher watcher;
            final Set<String> created = Collections.synchronizedSet(new TreeSet<>());
            final List<String> events = Collections.synchronizedList(new ArrayList<>());

            boolean holds(String path, String want) {
                return cache.get(path).map(ChildData::getData).map(Recipes::text).orElse("").equals(want);
            }

            void before() throws Exception {
                writer = connect();
                CuratorFramework client = connect();
                writer.create().creatingParentsIfNeeded().forPath("/all/a/b", bytes("1"));
                cache = CuratorCache.build(client, "/all");
                cache.listenable().addListener(CuratorCacheListener.builder().forCreates(n -> created.add(n.getPath())).build());
                cache.start();
                until("the first fill", () -> holds("/all/a/b", "1"));
                watcher = new PersistentWatcher(client, "/all", true);
                watcher.getListenable().addListener(event -> {
                    if (event.getType() != Watcher.Event.EventType.None) {
                        events.add(event.getType() + " " + event.getPath());
                    }
                });
                watcher.start();
                // Whether the watch is set is not told: write until it speaks.
                until("the watcher", () -> {
                    writer.setData().forPath("/all/a/b", bytes("2"));
                    return events.contains("NodeDataChanged /all/a/b");
                });
                writer.create().forPath("/all/a/c", bytes("c"));
                until("the cache", () -> holds("/all/a/b", "2") && holds("/all/a/c", "c"));
                until("the creation", () -> events.contains("NodeCreated /all/a/c") && created.contains("/all/a/c"));
            }

            void after() throws Exception {
                // Persistent watches catch up on nothing: only an event that is new shows that it is set again.
                long before = events.stream().filter("NodeDataChanged /all/a/b"::equals).count();
                until("the watcher after the restart", () -> {
                    writer.setData().forPath("/all/a/b", bytes("3"));
                    return events.stream().filter("NodeDataChanged /all/a/b"::equals).count() > before;
                });
                writer.create().forPath("/all/a/d", bytes("d"));
                writer.delete().forPath("/all/a/c");
                until("the cache", () -> holds("/all/a/b", "3") && holds("/all/a/d", "d") && !cache.get("/all/a/c").isPresent());
                until("the deletion", () -> events.contains("NodeDeleted /all/a/c"));
                check(events.stream().noneMatch(e -> e.startsWith("NodeChildrenChanged")), "a children event: " + events);
                watcher.close();
                cache.close();
            }
        },
        new Recipe("watchers: addWatch, remove, one-shot") {
            CuratorFramework client;
            CuratorFramework writer;
            final BlockingQueue<WatchedEvent> events = new LinkedBlockingQueue<>();

            void next(Watcher.Event.EventType type, String path) throws Exception {
                for (WatchedEvent event; (event = events.poll(PATIENCE, TimeUnit.SECONDS)) != null;) {
                    if (event.getType() != Watcher.Event.EventType.None) {
                        equal(type + " " + path, event.getType() + " " + event.getPath(), "event");
                        return;
                    }
                }
                throw new AssertionError("no event " + type + " " + path);
            }

            void before() throws Exception {
                client = connect();
                writer = connect();
                writer.create().forPath("/watched");
                upToDate(client, "/watched");
                Watcher watcher = events::add;
                client.watchers().add().withMode(AddWatchMode.PERSISTENT).usingWatcher(watcher).forPath("/watched");
                writer.setData().forPath("/watched", bytes("1"));
                next(Watcher.Event.EventType.NodeDataChanged, "/watched");
                writer.create().forPath("/watched/child");
                next(Watcher.Event.EventType.NodeChildrenChanged, "/watched");
                client.watchers().remove(watcher).forPath("/watched");
                next(Watcher.Event.EventType.PersistentWatchRemoved, "/watched");
                client.getData().usingWatcher(watcher).forPath("/watched/child");
                client.checkExists().usingWatcher(watcher).forPath("/watched/later");
            }

            void after() throws Exception {
                writer.setData().forPath("/watched/child", bytes("2"));
                next(Watcher.Event.EventType.NodeDataChanged, "/watched/child");
                writer.setData().forPath("/watched/child", bytes("3"));
                writer.create().forPath("/watched/later");
                next(Watcher.Event.EventType.NodeCreated, "/watched/later");
            }
        },
        new Recipe("PersistentNode and PersistentTtlNode") {
            CuratorFramework client;
            CuratorFramework other;
            PersistentNode node;
            PersistentTtlNode ttl;

            void before() throws Exception {
                client = connect();
                other = connect();
                node = new PersistentNode(client, CreateMode.EPHEMERAL, false, "/persistent-node", bytes("here"));
                node.start();
                check(node.waitForInitialCreate(PATIENCE, TimeUnit.SECONDS), "no node");
                ttl = new PersistentTtlNode(client, "/persistent-ttl", 3600000, bytes("here"));
                ttl.start();
                check(ttl.waitForInitialCreate(PATIENCE, TimeUnit.SECONDS), "no node");
                other.delete().forPath("/persistent-node");
                until("it to be made again", () -> data(other, "/persistent-node").equals("here"));
            }

            void after() throws Exception {
                equal(sessions.get(client), upToDate(other, "/persistent-node").checkExists().forPath("/persistent-node")
                        .getEphemeralOwner(), "owner");
                equal("here", data(other, "/persistent-ttl"), "data");
                long made = other.checkExists().forPath("/persistent-node").getCzxid();
                other.delete().forPath("/persistent-node");
                until("it to be made again", () -> {
                    Stat stat = other.checkExists().forPath("/persistent-node");
                    return stat != null && stat.getCzxid() > made;
                });
                node.setData(bytes("changed"));
                until("the data", () -> data(other, "/persistent-node").equals("changed"));
                node.close();
                ttl.close();
                until("it to be gone", () -> other.checkExists().forPath("/persistent-node") == null);
            }
        },
        new Recipe("GroupMember") {
            final List<GroupMember> members = new ArrayList<>();

            boolean sees(String... ids) {
                return new TreeSet<>(members.get(0).getCurrentMembers().keySet()).equals(new TreeSet<>(Arrays.asList(ids)));
            }

            void before() throws Exception {
                for (String id : Arrays.asList("a", "b", "c")) {
                    GroupMember member = new GroupMember(connect(), "/group", id);
                    member.start();
                    members.add(member);
                }
                until("three members", () -> sees("a", "b", "c"));
            }

            void after() throws Exception {
                until("three members", () -> sees("a", "b", "c"));
                members.get(2).close();
                until("two members", () -> sees("a", "b"));
                members.get(0).close();
                members.get(1).close();
            }
        },
        new Recipe("DistributedQueue, DistributedPriorityQueue, DistributedDelayQueue, SimpleDistributedQueue") {
            final List<String> got = Collections.synchronizedList(new ArrayList<>());
            final List<String> gotByPriority = Collections.synchronizedList(new ArrayList<>());
            final List<String> gotLate = Collections.synchronizedList(new ArrayList<>());
            DistributedQueue<String> queue;
            DistributedPriorityQueue<String> priority;
            DistributedDelayQueue<String> delayed;
            SimpleDistributedQueue simple;
            final QueueSerializer<String> serializer = new QueueSerializer<String>() {
                public byte[] serialize(String item) {
                    return bytes(item);
                }

                public String deserialize(byte[] data) {
                    return text(data);
                }
            };

            QueueConsumer<String> into(List<String> list) {
                return new QueueConsumer<String>() {
                    public void consumeMessage(String item) {
                        list.add(item);
                    }

                    public void stateChanged(CuratorFramework client, ConnectionState state) {
                    }
                };
            }

            void before() throws Exception {
                CuratorFramework client = connect();
                queue = QueueBuilder.builder(client, into(got), serializer, "/queue").lockPath("/queue-locks").buildQueue();
                queue.start();
                for (int i = 0; i < 10; i++) {
                    queue.put("item " + i);
                }
                until("ten items", () -> got.size() == 10);
                priority = QueueBuilder.builder(client, into(gotByPriority), serializer, "/priority").buildPriorityQueue(0);
                priority.start();
                priority.put("x", 1);
                until("an item", () -> gotByPriority.size() == 1);
                delayed = QueueBuilder.builder(client, into(gotLate), serializer, "/delayed").buildDelayQueue();
                delayed.start();
                delayed.put("late", System.currentTimeMillis() + 200);
                until("the late item", () -> gotLate.size() == 1);
                simple = new SimpleDistributedQueue(connect(), "/simple");
                simple.offer(bytes("1"));
                simple.offer(bytes("2"));
                equal("1", text(simple.take()), "the first");
            }

            void after() throws Exception {
                equal("2", text(simple.poll(PATIENCE, TimeUnit.SECONDS)), "the second");
                for (int i = 10; i < 20; i++) {
                    queue.put("item " + i);
                }
                until("twenty items", () -> new TreeSet<>(got).size() == 20);
                priority.put("y", 1);
                until("an item", () -> gotByPriority.contains("y"));
                delayed.put("later", System.currentTimeMillis() + 100);
                until("the late item", () -> gotLate.contains("later"));
                queue.close();
                priority.close();
                delayed.close();
            }
        },
        new Recipe("work without a rest: a counter under a mutex, numbered names, ephemerals, a cache") {
            final List<CuratorFramework> workers = new ArrayList<>();
            final List<Future<Long>> tasks = new ArrayList<>();
            final List<String> names = Collections.synchronizedList(new ArrayList<>());
            final AtomicInteger inside = new AtomicInteger();
            final AtomicInteger together = new AtomicInteger();
            CuratorFramework reader;
            CuratorCache cache;
            volatile boolean isOver;

            void before() throws Exception {
                reader = connect();
                reader.create().creatingParentsIfNeeded().forPath("/busy/counter", bytes("0"));
                reader.create().forPath("/busy/names");
                cache = CuratorCache.build(reader, "/busy/counter");
                cache.start();
                for (int i = 0; i < 3; i++) {
                    CuratorFramework client = connect();
                    client.sync().forPath("/busy");
                    client.create().withMode(CreateMode.EPHEMERAL).forPath("/busy/worker-" + i);
                    workers.add(client);
                    tasks.add(aside.submit(() -> work(client)));
                }
                until("some work", () -> names.size() >= 10);
            }

            /** How often the counter was raised. Every session lasts, so the mutex has one holder, however often connections break. */
            long work(CuratorFramework client) throws Exception {
                InterProcessMutex mutex = new InterProcessMutex(client, "/busy/mutex");
                long done = 0;
                for (; !isOver; done++) {
                    acquire(client, mutex);
                    together.addAndGet(inside.incrementAndGet() - 1);
                    // Set again where the answer is lost, which changes nothing while the mutex is held.
                    client.setData().forPath("/busy/counter", bytes("" + (Long.parseLong(data(client, "/busy/counter")) + 1)));
                    inside.decrementAndGet();
                    mutex.release();
                    String name = client.create().withProtection().withMode(CreateMode.PERSISTENT_SEQUENTIAL).forPath("/busy/names/n-");
                    if (name != null) {
                        names.add(name);
                    }
                    Thread.sleep(10);                       // so that the workers take turns, and the disk is not all that is tried
                }
                return done;
            }

            /**
             * Curator 5.9 answers null to a protected create whose connection breaks twice: its search for the node in between ends
             * the loop of attempts around it. The mutex takes that for a path, and its node, if it was made, would never go.
             */
            void acquire(CuratorFramework client, InterProcessMutex mutex) throws Exception {
                while (true) {
                    try {
                        mutex.acquire();
                        return;
                    } catch (NullPointerException brokenTwice) {
                        client.sync().forPath("/busy/mutex");
                        for (String name : client.getChildren().forPath("/busy/mutex")) {
                            Stat stat = client.checkExists().forPath("/busy/mutex/" + name);
                            if (stat != null && stat.getEphemeralOwner() == sessions.get(client)) {
                                client.delete().quietly().forPath("/busy/mutex/" + name);
                            }
                        }
                    }
                }
            }

            void after() throws Exception {
                int size = names.size();
                until("work to go on", () -> names.size() > size + 10);
                isOver = true;
                long done = 0;
                for (Future<Long> task : tasks) {
                    done += task.get(PATIENCE, TimeUnit.SECONDS);
                }
                equal(0, together.get(), "workers that had the mutex together");
                equal("" + done, data(reader, "/busy/counter"), "the counter");
                String last = "" + done;
                until("the cache", () -> cache.get("/busy/counter").map(ChildData::getData).map(Recipes::text).orElse("").equals(last));
                reader.sync().forPath("/busy");
                Set<String> there = new TreeSet<>();
                for (String name : reader.getChildren().forPath("/busy/names")) {
                    there.add("/busy/names/" + name);
                }
                check(there.containsAll(names), "names that were acknowledged are gone");
                Set<String> numbers = new TreeSet<>();
                for (String name : names) {
                    check(numbers.add(name.substring(name.lastIndexOf('-') + 1)), "a number was given twice: " + name);
                }
                for (int i = 0; i < workers.size(); i++) {
                    equal(sessions.get(workers.get(i)), reader.checkExists().forPath("/busy/worker-" + i).getEphemeralOwner(), "owner");
                }
                cache.close();
            }
        },
        new Recipe("a namespace") {
            CuratorFramework inner;
            CuratorFramework outer;

            void before() throws Exception {
                outer = connect();
                inner = outer.usingNamespace("space");
                inner.create().creatingParentsIfNeeded().forPath("/x/y", bytes("in"));
                equal("in", data(outer, "/space/x/y"), "data");
            }

            void after() throws Exception {
                equal("in", data(inner, "/x/y"), "data");
            }
        });

    static boolean release(org.apache.curator.framework.recipes.locks.InterProcessLock lock) throws Exception {
        lock.release();
        return true;
    }

    /** Runs one part of every recipe that came through the earlier ones, all at once. */
    static List<Recipe> part(String suffix, List<Recipe> recipes, boolean first) throws Exception {
        List<Recipe> passed = Collections.synchronizedList(new ArrayList<>());
        List<Future<?>> tasks = new ArrayList<>();
        for (Recipe recipe : recipes) {
            tasks.add(aside.submit(() -> {
                String line;
                try {
                    if (first) {
                        recipe.before();
                    } else {
                        recipe.after();
                    }
                    passed.add(recipe);
                    line = "ok " + recipe.name + suffix;
                } catch (Throwable error) {
                    line = "FAIL " + recipe.name + suffix + ": " + error;
                    error.printStackTrace();
                }
                synchronized (System.out) {
                    System.out.println(line);
                    System.out.flush();
                }
            }));
        }
        for (Future<?> task : tasks) {
            task.get(3 * PATIENCE, TimeUnit.SECONDS);
        }
        return passed;
    }

    public static void main(String[] arguments) throws Exception {
        address = arguments[0];
        if (arguments.length > 1) {
            sessionMilliseconds = Integer.parseInt(arguments[1]);
        }
        List<Recipe> alive = part("", RECIPES, true);
        AtomicInteger lost = new AtomicInteger();
        for (CuratorFramework client : clients) {
            client.getConnectionStateListenable().addListener((c, state) -> {
                if (state == ConnectionState.LOST) {
                    lost.incrementAndGet();
                }
            });
        }
        System.out.println("KILL");
        System.out.flush();
        System.in.read();
        String line = "ok every session survives kill -9";
        try {
            for (Map.Entry<CuratorFramework, Long> session : new ArrayList<>(sessions.entrySet())) {
                until("the connection", () -> session.getKey().getZookeeperClient().isConnected());
                equal(session.getValue(), session.getKey().getZookeeperClient().getZooKeeper().getSessionId(), "session");
            }
            equal(0, lost.get(), "lost sessions");
        } catch (Throwable error) {
            line = "FAIL every session survives kill -9: " + error;
        }
        System.out.println(line);
        part(" (across kill -9)", alive, false);
        line = "ok clients close";
        try {
            for (CuratorFramework client : clients) {
                client.close();
            }
        } catch (Throwable error) {
            line = "FAIL clients close: " + error;
        }
        System.out.println(line);
        System.out.flush();
        System.exit(0);
    }
}
