/* Runs the engine's command line in this process until SIGTERM: what the server's own program does.
   Built with: cc -O1 -o clickhouse-server clickhouse-server.c */

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static int count;
static char **words;
static void *(*run)(int, char **);
static const char *(*error_of)(void *);

/* The first process of a container gets no signal that it does not handle. What was acknowledged is on disk. */
static void stop(int number) {
  (void)number;
  _exit(0);
}

static void *engine(void *unused) {
  (void)unused;
  void *result = run(count, words);
  const char *error = result ? error_of(result) : NULL;
  fprintf(stderr, "the engine has ended: %s\n", error ? error : "without a word");
  _exit(1);
}

int main(int argc, char **argv) {
  void *library = dlopen("/usr/lib/libchdb.so", RTLD_NOW);
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  count = argc;
  words = argv;
  void (*set_signal_handlers)(int);
  *(void **)&run = dlsym(library, "chdb_query_cmdline");
  *(void **)&error_of = dlsym(library, "chdb_result_error");
  *(void **)&set_signal_handlers = dlsym(library, "chdb_set_signal_handlers_enabled");
  if (!run || !error_of || !set_signal_handlers) {
    fprintf(stderr, "another library\n");
    return 1;
  }
  set_signal_handlers(0);
  signal(SIGTERM, stop);
  signal(SIGINT, stop);
  /* It counts on a server's stack. */
  pthread_attr_t attributes;
  pthread_t thread;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 << 20);
  if (pthread_create(&thread, &attributes, engine, NULL)) return 1;
  for (;;) pause();
}
