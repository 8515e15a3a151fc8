"""Drives the unmodified nacos-sdk-python 1.x (HTTP). Protocol: ../README.md."""

import json
import sys
import threading

import nacos
from nacos.listener import SubscribeListener

lock = threading.Lock()


def say(**message):
    with lock:
        print("@@ " + json.dumps(message), flush=True)


def hosts(answer):
    return sorted(f"{h['ip']}:{h['port']}={json.dumps(h['healthy'])}" for h in answer["hosts"])


def main():
    server, namespace = sys.argv[1], sys.argv[2]
    client = nacos.NacosClient(server, namespace=namespace or None)

    def key(command):
        return {"service_name": command["service"], "group_name": command.get("group") or "DEFAULT_GROUP"}

    def register(command):
        return client.add_naming_instance(
            ip=command["ip"], port=command["port"], metadata=command.get("metadata"), heartbeat_interval=5, **key(command)
        )

    def deregister(command):
        return client.remove_naming_instance(ip=command["ip"], port=command["port"], **key(command))

    def listing(command):
        return hosts(client.list_naming_instance(**key(command)))

    def subscribe(command):
        def changed(_event, _instance):
            say(event="change", service=command["service"], hosts=listing(command))

        # positional: the SDK takes its cache key from the first argument after the interval
        listener = SubscribeListener(fn=changed, listener_name="changed")
        client.subscribe(listener, 1, command["service"], group_name=key(command)["group_name"])
        return True

    actions = {"register": register, "deregister": deregister, "list": listing, "subscribe": subscribe}
    say(event="started")
    for line in sys.stdin:
        command = json.loads(line)
        try:
            say(id=command["id"], ok=actions[command["do"]](command))
        except Exception as error:
            say(id=command["id"], error=repr(error))
    client.stop_subscribe()


main()
