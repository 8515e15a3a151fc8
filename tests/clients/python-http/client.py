"""Drives the unmodified nacos-sdk-python 1.x (HTTP). Protocol: ../README.md."""

import json
import sys
import threading
from importlib.metadata import version

import nacos
from nacos.listener import SubscribeListener

lock = threading.Lock()


class Unsupported(Exception):
    pass


def say(**message):
    with lock:
        print("@@ " + json.dumps(message), flush=True)


def text(hosts):
    return sorted(f"{h['ip']}:{h['port']}={json.dumps(h['healthy'])}" for h in hosts)


def main():
    server, namespace = sys.argv[1], sys.argv[2]
    client = nacos.NacosClient(server, namespace=namespace or None)

    def group(command):
        return command.get("group") or "DEFAULT_GROUP"

    def instance(command):
        return {
            "service_name": command["service"],
            "group_name": group(command),
            "ip": command["ip"],
            "port": command["port"],
            # the SDK would send the text None
            "cluster_name": command.get("cluster") or "DEFAULT",
            "ephemeral": command.get("ephemeral", True),
        }

    def register(command):
        return client.add_naming_instance(
            weight=command.get("weight", 1.0), metadata=command.get("metadata"), heartbeat_interval=5, **instance(command)
        )

    def update(command):
        return client.modify_naming_instance(
            weight=command.get("weight"), metadata=command.get("metadata"), **instance(command)
        )

    def deregister(command):
        return client.remove_naming_instance(**instance(command))

    def hosts(command):
        clusters = ",".join(command.get("clusters") or []) or None
        found = client.list_naming_instance(
            command["service"], clusters, group_name=group(command), healthy_only=bool(command.get("healthy"))
        )
        return found["hosts"]

    def subscribe(command):
        def changed(_event, _instance):
            now = hosts(command)
            metadata = {f"{h['ip']}:{h['port']}": h["metadata"] for h in now}
            say(event="change", service=command["service"], hosts=text(now), metadata=metadata)

        # positional: the SDK takes its cache key from the first argument after the interval
        listener = SubscribeListener(fn=changed, listener_name="changed")
        clusters = ",".join(command.get("clusters") or []) or None
        client.subscribe(listener, 1, command["service"], clusters, group_name=group(command))
        return True

    def unsubscribe(command):
        client.unsubscribe(command["service"], "changed")
        return True

    def batch(_command):
        raise Unsupported("nacos-sdk-python 1.x registers one instance at a time")

    def services(_command):
        raise Unsupported("nacos-sdk-python 1.x does not list services")

    actions = {
        "register": register,
        "update": update,
        "batch": batch,
        "deregister": deregister,
        "list": lambda command: text(hosts(command)),
        "services": services,
        "subscribe": subscribe,
        "unsubscribe": unsubscribe,
    }
    say(event="started", version=version("nacos-sdk-python"))
    for line in sys.stdin:
        command = json.loads(line)
        try:
            say(id=command["id"], ok=actions[command["do"]](command))
        except Unsupported as why:
            say(id=command["id"], unsupported=str(why))
        except Exception as error:
            say(id=command["id"], error=repr(error))
    client.stop_subscribe()


main()
